"""RunService, on the log in memory: what people may do with a run, and what is told about it."""

from __future__ import annotations

from typing import TypeVar
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace

from examples.flowcraft.api.core.domain.errors import (
    FlowNotFound,
    FlowPaused,
    RunNotCancellable,
    RunNotFound,
    RunNotRetryable,
)
from examples.flowcraft.api.core.domain.events import FlowUpdate, RunStatus, StepStatus
from examples.flowcraft.api.core.services import ExecutionService, RunService
from examples.flowcraft.tests.memory_runs import MemoryRuns
from flowcraft.adapters.memory import MemoryLog, MemoryRealtimeService
from flowcraft.declared_channels import Channel

E = TypeVar("E")
INVOICES = FlowUpdate(
    flow_id="invoices", name="Invoices", description="", steps=["Render", "Post", "Mail"], paused=False
)
PAUSED = replace(INVOICES, flow_id="paused", name="Paused", paused=True)


class World:
    """The service under test, and everything around it."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.start = self.log.position_now().cursor
        self.runs = MemoryRuns(self.log, INVOICES, PAUSED)
        realtime = MemoryRealtimeService(self.log)
        self.service = RunService(realtime, self.runs)
        self.execution = ExecutionService(realtime, self.runs)

    async def a_run(self, status: RunStatus, *steps: StepStatus) -> UUID:
        run_id = (await self.service.trigger("invoices")).run_id
        async with self.runs.transaction() as tx:
            run = await tx.lock(run_id)
            assert run is not None
            await tx.save(replace(run, status=status))
            for step, step_status in zip(await tx.steps(run_id), steps, strict=False):
                await tx.save_step(replace(step, status=step_status, attempt=1))
        return run_id

    def status(self, run_id: UUID) -> tuple[RunStatus, list[StepStatus]]:
        return self.runs.tables.runs[run_id].status, [s.status for s in self.runs.tables.steps[run_id]]

    def lines(self, run_id: UUID) -> list[str]:
        return [line.text for line in self.runs.tables.log[run_id]]


async def test_a_triggered_run_waits_with_all_its_steps_and_its_first_line_is_told_in_its_transaction() -> (
    None
):
    world = World()
    triggered = await world.service.trigger("invoices")
    assert world.status(triggered.run_id) == ("queued", ["pending", "pending", "pending"])
    (told,) = world.log.tail_now(world.start).records
    assert (told.channel, str(told.xid)) == (f"runs.{triggered.run_id}", triggered.xid)
    assert '"Invoices was triggered by a person"' in told.payload


async def test_a_run_that_cannot_be_told_about_does_not_exist() -> None:
    class Unwilling:
        async def broadcast(self, channel: Channel[E], event: E, *, via: object | None = None) -> None:
            raise ConnectionError

    world = World()
    with pytest.raises(ConnectionError):
        await RunService(Unwilling(), world.runs).trigger("invoices")
    assert (world.runs.tables.runs, world.log.tail_now(world.start).records) == ({}, ())


async def test_only_a_flow_that_exists_and_is_not_paused_is_triggered() -> None:
    world = World()
    with pytest.raises(FlowNotFound, match="flow 'nonsense' does not exist"):
        await world.service.trigger("nonsense")
    with pytest.raises(FlowPaused, match="Paused is paused; resume it first"):
        await world.service.trigger("paused")
    assert world.log.tail_now(world.start).records == ()


async def test_a_queued_run_is_cancelled_at_once() -> None:
    world = World()
    run_id = await world.a_run("queued", "succeeded", "retrying")
    await world.service.cancel(run_id)
    assert world.status(run_id) == ("cancelled", ["succeeded", "cancelled", "cancelled"])


async def test_a_running_run_is_cancelled_when_its_worker_notices() -> None:
    world = World()
    run_id = (await world.service.trigger("invoices")).run_id
    held = await world.execution.claim("worker")
    assert held is not None
    await world.execution.begin(held, 1)
    await world.service.cancel(run_id)
    assert world.status(run_id) == ("running", ["running", "pending", "pending"])
    assert world.runs.tables.runs[run_id].cancel_requested
    await world.execution.cancel(held)
    assert world.status(run_id) == ("cancelled", ["cancelled", "cancelled", "cancelled"])
    assert not world.runs.tables.runs[run_id].cancel_requested
    assert world.lines(run_id)[-2:] == ["cancellation requested", "the run was cancelled"]


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
async def test_a_finished_run_is_not_cancelled(status: RunStatus) -> None:
    world = World()
    with pytest.raises(RunNotCancellable, match=r"run 1 has .* already; there is nothing to cancel"):
        await world.service.cancel(await world.a_run(status))


@pytest.mark.parametrize("status", ["failed", "cancelled"])
async def test_a_retried_run_goes_on_where_it_stopped(status: RunStatus) -> None:
    world = World()
    run_id = await world.a_run(status, "succeeded", "failed", "cancelled")
    await world.service.retry(run_id)
    assert world.status(run_id) == ("queued", ["succeeded", "pending", "pending"])
    assert world.runs.tables.runs[run_id].attempt == 2
    held = await world.execution.claim("worker")
    assert held is not None
    assert [step.name for step in held.todo] == ["Post", "Mail"]


@pytest.mark.parametrize("status", ["queued", "running", "succeeded"])
async def test_only_a_run_that_failed_or_was_cancelled_is_retried(status: RunStatus) -> None:
    world = World()
    with pytest.raises(RunNotRetryable, match="only a failed or cancelled run can be retried"):
        await world.service.retry(await world.a_run(status))


async def test_what_does_not_exist_can_neither_be_seen_nor_cancelled_nor_retried() -> None:
    service = World().service
    for attempt in (service.detail, service.cancel, service.retry):
        with pytest.raises(RunNotFound, match="finished runs are pruned"):
            await attempt(uuid4())
