"""What a test expects has the type of the channel, or of the member of its union that was asked for."""

from __future__ import annotations

from typing import assert_type

from flowcraft.channels import Channels
from flowcraft.cursors import Cursor
from flowcraft.events import Event
from flowcraft.ports import RealtimeService
from flowcraft.testing.realtime import DatabaseRealtime, InMemoryRealtime
from flowcraft.testing.subscription import Subscription
from flowcraft.viewers import Viewer


class RunUpdate(Event):
    run_id: int
    status: str


class StepCompleted(Event):
    step: int


channels = Channels()
run_update = channels.declare("run_update", RunUpdate)
run = channels.declare("runs.{run_id}", RunUpdate | StepCompleted, params={"run_id": int})


def wants_a_run(update: RunUpdate) -> bool:
    return update.run_id == 7


async def right(realtime: InMemoryRealtime, on_database: DatabaseRealtime, cursor: Cursor) -> None:
    runs = await realtime.subscribe(run_update)
    assert_type(runs, Subscription[RunUpdate])
    assert_type(await runs.expect(), RunUpdate)
    assert_type(await runs.expect(status="failed", timeout=1), RunUpdate)
    assert_type(await runs.expect(wants_a_run), RunUpdate)
    assert_type(await runs.expect(lambda update: update.status == "failed"), RunUpdate)
    assert_type(runs.received, list[RunUpdate])
    await runs.expect_nothing(lambda update: update.status == "failed")
    watched = await on_database.subscribe(run(7), since=cursor)
    assert_type(await watched.expect(), RunUpdate | StepCompleted)
    assert_type(await watched.expect(StepCompleted), StepCompleted)
    assert_type(await watched.expect(StepCompleted, lambda done: done.step == 1), StepCompleted)
    ada = realtime.as_viewer("ada", role="admin")
    assert_type(await (await ada.subscribe(run(7))).expect(RunUpdate), RunUpdate)
    await (await on_database.as_viewer(Viewer("ada")).subscribe(run_update)).expect_nothing()
    service: RealtimeService = realtime
    async with realtime.transaction() as transaction:
        await service.broadcast(run(7), StepCompleted(step=1), via=transaction)


async def wrong(realtime: InMemoryRealtime, runs: Subscription[RunUpdate]) -> None:
    await realtime.subscribe(run)  # type: ignore[arg-type]
    await realtime.subscribe("run_update")  # type: ignore[arg-type]
    await realtime.subscribe(run_update, since="752:755:")  # type: ignore[arg-type]
    await realtime.broadcast(run_update, StepCompleted(step=1))  # type: ignore[misc]
    realtime.as_viewer(7)  # type: ignore[arg-type]
    print((await runs.expect()).step)  # type: ignore[attr-defined]
    await runs.expect(lambda update: update.step == 1)  # type: ignore[attr-defined]
    await runs.expect("failed")  # type: ignore[call-overload]
    await runs.expect(timeout="1")  # type: ignore[call-overload]
    narrower: Subscription[Event] = runs  # type: ignore[assignment]
    print(narrower)


async def forgotten(runs: Subscription[RunUpdate]) -> None:
    runs.expect()  # type: ignore[unused-coroutine]
    runs.expect_nothing()  # type: ignore[unused-coroutine]
