"""State and stream join: whenever a page loads, its state and the events since its cursor are the truth."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import reduce
from uuid import UUID

import msgspec
import pytest

from examples.flowcraft.api.core.domain import channels
from examples.flowcraft.api.core.domain.errors import StepFailed
from examples.flowcraft.api.core.domain.events import LogLine, RunUpdate
from examples.flowcraft.api.core.ports import RunDetail, State
from examples.flowcraft.api.worker import StepRun, Worker
from examples.flowcraft.tests.conftest import Product
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.cursors import Cursor

LOADS = 60


async def chatty(step: StepRun) -> None:
    for percent in (20, 40, 60, 80):
        await step.progress(percent, f"{percent} % done")


class FailsOnce:
    def __init__(self) -> None:
        self.failed = set[UUID]()

    async def __call__(self, step: StepRun) -> None:
        if step.assignment.run_id not in self.failed:
            self.failed.add(step.assignment.run_id)
            raise StepFailed("once")


@pytest.fixture
async def log(product: Product) -> AsyncIterator[PostgresLog]:
    log = PostgresLog(product.dsn)
    yield log
    await log.close()


def in_detail(detail: RunDetail, event: RunUpdate | LogLine) -> RunDetail:
    """Apply an event as the page does; it must be the very next thing that happened to its run."""
    match event:
        case RunUpdate():
            assert event.version == detail.run.version + 1
            return msgspec.structs.replace(detail, run=event)
        case LogLine():
            assert event.number == len(detail.log) + 1
            return msgspec.structs.replace(detail, log=[*detail.log, event])


async def load(product: Product, watched: UUID) -> list[State[RunDetail]]:
    """Return pages that were loaded while work went on."""
    return [await product.services.runs.detail(watched) for _ in range(LOADS)]


async def trigger_and_cancel(product: Product) -> None:
    for number in range(8):
        run_id = (await product.services.runs.trigger("busy")).run_id
        if number % 4 == 0:
            await product.services.runs.cancel(run_id)


async def work_until_all_is_done(product: Product, worker: Worker, slot: str) -> None:
    while await product.services.runs.active():
        if not await worker.work_once(slot):
            await product.execute("update runs set retry_at = now() where retry_at > now()")


async def busy_pages(product: Product) -> tuple[UUID, list[State[RunDetail]]]:
    flow = await product.add_flow("busy", chatty, FailsOnce(), chatty)
    watched = (await product.services.runs.trigger("busy")).run_id
    worker = product.worker(flow)
    async with asyncio.TaskGroup() as tasks:
        pages = tasks.create_task(load(product, watched))
        tasks.create_task(trigger_and_cancel(product))
        for number in range(3):
            tasks.create_task(work_until_all_is_done(product, worker, f"worker/{number}"))
    return watched, pages.result()


async def test_a_page_loaded_at_any_moment_of_busy_work_ends_in_the_true_state(
    product: Product, log: PostgresLog
) -> None:
    watched, pages = await busy_pages(product)
    assert pages[0].data != pages[-1].data
    end = (await product.services.runs.detail(watched)).data
    for shown in pages:
        batch = await log.replay(Cursor.parse(shown.cursor), [channels.run(watched).name])
        events = [msgspec.json.decode(record.payload, type=RunUpdate | LogLine) for record in batch.records]
        assert reduce(in_detail, events, shown.data) == end
