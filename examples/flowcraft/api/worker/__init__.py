"""The worker: claims runs and does their steps."""

from examples.flowcraft.api.worker.catalogue import CATALOGUE
from examples.flowcraft.api.worker.step import Flow, Step, StepRun
from examples.flowcraft.api.worker.worker import Worker

__all__ = ["CATALOGUE", "Flow", "Step", "StepRun", "Worker"]
