"""What a flow is made of: named steps, each a Python function that reports how it gets on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from examples.flowcraft.api.core.domain.events import LogLevel
from examples.flowcraft.api.core.services import Assignment, ExecutionService


@dataclass(frozen=True, slots=True)
class StepRun:
    """One attempt at one step, from the inside."""

    execution: ExecutionService
    assignment: Assignment
    position: int

    async def progress(self, percent: int, text: str | None = None) -> None:
        """Report the progress, with an optional text. Stops the step if its run was cancelled or lost."""
        await self.execution.report(self.assignment, self.position, percent, text)

    async def log(self, text: str, level: LogLevel = "info") -> None:
        """Add a line to the run's log. Stops the step if its run was cancelled or lost."""
        await self.execution.report(self.assignment, self.position, None, text, level)


Work: TypeAlias = Callable[[StepRun], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Step:
    """A step: its name, and the function that does it. After a crash it runs again, and should not mind."""

    name: str
    work: Work


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow: what people see of it, and its steps in order."""

    flow_id: str
    name: str
    description: str
    steps: tuple[Step, ...]
