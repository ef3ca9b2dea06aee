"""An event is frozen and keyword-only without saying so."""

from __future__ import annotations

from typing import Literal, assert_type
from uuid import UUID

import msgspec

from flowcraft.events import Event, Int64


class RunUpdate(Event):
    status: Literal["queued", "running"] = "queued"
    run_id: UUID


class Retried(RunUpdate):
    attempt: int = msgspec.field(name="try")
    rows: Int64


def use(event: RunUpdate) -> None:
    assert_type(event.run_id, UUID)
    assert_type(event.status, Literal["queued", "running"])
    RunUpdate(run_id=event.run_id)
    RunUpdate(status="running", run_id=event.run_id)
    Retried(run_id=event.run_id, attempt=1, rows="9223372036854775807")

    event.run_id = event.run_id  # type: ignore[misc]
    RunUpdate(event.run_id)  # type: ignore[call-arg, arg-type]
    RunUpdate()  # type: ignore[call-arg]
    RunUpdate(run_id="7")  # type: ignore[arg-type]
    RunUpdate(run_id=event.run_id, status="done")  # type: ignore[arg-type]
    RunUpdate(run_id=event.run_id, more=1)  # type: ignore[call-arg]
    Retried(run_id=event.run_id, attempt=1, rows=1)  # type: ignore[arg-type]
    Retried(attempt=1, rows="1")  # type: ignore[call-arg]
