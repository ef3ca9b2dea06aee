"""The lifecycle of a run: what each change does to a run and to a step. Values in, values out.

queued ──claim──> running ──last step done──> succeeded
  ^  ^              │ │ └──step out of attempts──> failed ──retry──┐
  │  └─step failed──┘ └──cancel──> cancelled ──retry───────────────┤
  └────────────────────────────────────────────────────────────────┘
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import replace

from examples.flowcraft.api.core.domain.events import RunUpdate, StepUpdate

BACK_OFF_SECONDS = (1.0, 2.5, 6.0)


def claimed(run: RunUpdate, now: datetime) -> RunUpdate:
    """A worker has taken the run."""
    return replace(run, status="running", started_at=run.started_at or now, retry_at=None, error=None)


def begun(step: StepUpdate, now: datetime) -> StepUpdate:
    """A worker starts the step, for the first time or again."""
    return replace(
        step,
        status="running",
        attempt=step.attempt + 1,
        progress=0,
        error=None,
        started_at=step.started_at or now,
        finished_at=None,
    )


def advanced(run: RunUpdate, step: StepUpdate, of: int) -> RunUpdate:
    """The run as far as this one of its steps has got."""
    done = (step.position - 1) * 100 + step.progress
    return replace(run, current_step=step.name, progress=done // of)


def completed(step: StepUpdate, now: datetime) -> StepUpdate:
    """The step is done."""
    return replace(step, status="succeeded", progress=100, finished_at=now)


def may_try_again(step: StepUpdate) -> bool:
    """Whether a step that failed has attempts left."""
    return step.attempt < step.max_attempts


def waiting(run: RunUpdate, step: StepUpdate, now: datetime) -> RunUpdate:
    """The run goes back to the queue, not to be claimed before the step's back-off is over."""
    seconds = BACK_OFF_SECONDS[min(step.attempt, len(BACK_OFF_SECONDS)) - 1]
    return replace(run, status="queued", retry_at=now + timedelta(seconds=seconds), error=step.error)


def released(step: StepUpdate) -> StepUpdate:
    """The worker goes away in the middle of the step; that attempt does not count."""
    return replace(step, status="pending", attempt=step.attempt - 1, progress=0)


def succeeded(run: RunUpdate, now: datetime) -> RunUpdate:
    """All steps are done."""
    return replace(run, status="succeeded", progress=100, current_step=None, finished_at=now)


def failed(run: RunUpdate, error: str | None, now: datetime) -> RunUpdate:
    """A step has used up its attempts."""
    return replace(run, status="failed", error=error, finished_at=now)


def cancelled(run: RunUpdate, now: datetime) -> RunUpdate:
    """No worker works on the run, and none will."""
    return replace(run, status="cancelled", cancel_requested=False, retry_at=None, finished_at=now)


def step_cancelled(step: StepUpdate, now: datetime) -> StepUpdate:
    """The step will not be done."""
    return replace(step, status="cancelled", finished_at=now)


def retried(run: RunUpdate) -> RunUpdate:
    """The run waits for a worker again and goes on where it stopped."""
    return replace(run, status="queued", attempt=run.attempt + 1, error=None, finished_at=None)


def step_retried(step: StepUpdate) -> StepUpdate:
    """The step has all its attempts again."""
    return replace(
        step, status="pending", attempt=0, progress=0, error=None, started_at=None, finished_at=None
    )
