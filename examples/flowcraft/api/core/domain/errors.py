"""Errors: what a person asked for and cannot have, and what a worker must stop for."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from examples.flowcraft.api.core.domain.events import RunUpdate


class Refused(Exception):
    """A request that cannot be granted; the text is for the person who asked."""

    code: ClassVar[str]


class FlowNotFound(Refused):
    """No flow has this id."""

    code = "flow_not_found"

    def __init__(self, flow_id: str) -> None:
        super().__init__(f"flow {flow_id[:64]!r} does not exist; the page of flows shows those that do")


class FlowPaused(Refused):
    """A paused flow takes no new runs."""

    code = "flow_paused"

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is paused; resume it first")


class RunNotFound(Refused):
    """No run has this id, or no longer."""

    code = "run_not_found"

    def __init__(self, run_id: UUID) -> None:
        super().__init__(
            f"run {run_id} does not exist; finished runs are pruned after a while, reload the list"
        )


class RunNotCancellable(Refused):
    """The run has finished."""

    code = "run_not_cancellable"

    def __init__(self, run: RunUpdate) -> None:
        super().__init__(f"run {run.number} has {_ended(run)} already; there is nothing to cancel")


class RunNotRetryable(Refused):
    """Only a run that failed or was cancelled can be retried."""

    code = "run_not_retryable"

    def __init__(self, run: RunUpdate) -> None:
        reason = "has succeeded" if run.status == "succeeded" else f"is {run.status}"
        super().__init__(f"run {run.number} {reason}; only a failed or cancelled run can be retried")


class StepFailed(Exception):
    """A step could not do its work; it is tried again later, a few times."""


class CancelRequested(Exception):
    """A user cancelled the run: stop working on it."""


class LeaseLost(Exception):
    """Another worker has the run now: stop, and write nothing more about it."""


def _ended(run: RunUpdate) -> str:
    return "been cancelled" if run.status == "cancelled" else run.status
