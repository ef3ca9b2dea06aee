"""Events: the facts that services of the product state, and that its pages show.

A run's state and the event "the run changed" have the same fields, so there is one type for both: a row of
`run_rows` is a `RunUpdate`, `run_update` carries `RunUpdate`, and the page needs no mapping between them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias
from uuid import UUID

import msgspec

from flowcraft import Event

RunStatus: TypeAlias = Literal["queued", "running", "succeeded", "failed", "cancelled"]
StepStatus: TypeAlias = Literal["pending", "running", "retrying", "succeeded", "failed", "cancelled"]
LogLevel: TypeAlias = Literal["info", "warning", "error"]
Urgency: TypeAlias = Literal["info", "warning", "critical"]
Initiator: TypeAlias = Literal["person", "schedule"]
Percent: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=100)]


class FlowUpdate(Event):
    """A flow as it is now: what can be run."""

    flow_id: str
    name: str
    description: str
    steps: list[str]
    paused: bool


class RunUpdate(Event):
    """A run as it is now. `version` grows by one with every change of the row."""

    run_id: UUID
    number: int
    flow_id: str
    flow_name: str
    status: RunStatus
    progress: Percent
    attempt: int
    current_step: str | None
    cancel_requested: bool
    triggered_by: Initiator
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    retry_at: datetime | None
    version: int


class StepUpdate(Event):
    """One step of a run as it is now; `position` counts from 1."""

    run_id: UUID
    position: int
    name: str
    status: StepStatus
    progress: Percent
    attempt: int
    max_attempts: int
    error: str | None
    started_at: datetime | None
    finished_at: datetime | None
    version: int


class LogLine(Event):
    """A line that a run wrote; `number` counts 1, 2, 3 … without a gap in each run."""

    run_id: UUID
    number: int
    at: datetime
    level: LogLevel
    position: int | None
    text: str


class DashboardUpdate(Event):
    """The figures of all runs at one moment."""

    at: datetime
    queued: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    runs_per_minute: int
    success_rate: float | None
    mean_seconds: float | None


class Announcement(Event):
    """An announcement of the operators to the users."""

    announcement_id: UUID
    text: str
    level: Urgency
    at: datetime


class Visitor(Event):
    """One who looks at a page now, under the name that this browser was given."""

    id: UUID
    name: str
