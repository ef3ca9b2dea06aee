"""State and stream join: whenever a page loads, its state and the events since its cursor are the truth."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import reduce
from typing import Any
from uuid import UUID

import msgspec
import pytest

from examples.flowcraft.api.core.domain import channels
from examples.flowcraft.api.core.domain.errors import StepFailed
from examples.flowcraft.api.core.domain.events import DashboardUpdate, LogLine, RunUpdate, StepUpdate
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


def in_runs(runs: list[RunUpdate], event: RunUpdate) -> list[RunUpdate]:
    """Apply an event as the page does; it must be the very next thing that happened to its run."""
    known = {run.run_id: run for run in runs}
    assert event.version == (known[event.run_id].version if event.run_id in known else 0) + 1
    known[event.run_id] = event
    return sorted(known.values(), key=lambda run: -run.number)


def in_detail(detail: RunDetail, event: RunUpdate | StepUpdate | LogLine) -> RunDetail:
    match event:
        case RunUpdate():
            assert event.version == detail.run.version + 1
            return msgspec.structs.replace(detail, run=event)
        case StepUpdate():
            assert event.version == detail.steps[event.position - 1].version + 1
            steps = [event if step.position == event.position else step for step in detail.steps]
            return msgspec.structs.replace(detail, steps=steps)
        case LogLine():
            assert event.number == len(detail.log) + 1
            return msgspec.structs.replace(detail, log=[*detail.log, event])


@dataclass
class Pages:
    """Pages that were loaded while work went on."""

    runs: list[State[list[RunUpdate]]] = field(default_factory=list[State[list[RunUpdate]]])
    details: list[State[RunDetail]] = field(default_factory=list[State[RunDetail]])
    dashboards: list[State[list[DashboardUpdate]]] = field(default_factory=list[State[list[DashboardUpdate]]])

    async def load(self, product: Product, watched: UUID) -> None:
        for _ in range(LOADS):
            self.runs.append(await product.services.runs.newest(200))
            self.details.append(await product.services.runs.detail(watched))
            await product.services.dashboard.refresh()
            self.dashboards.append(await product.services.dashboard.history())


async def trigger_and_cancel(product: Product) -> None:
    for number in range(8):
        run_id = (await product.services.runs.trigger("busy")).run_id
        if number % 4 == 0:
            await product.services.runs.cancel(run_id)


async def work_until_all_is_done(product: Product, worker: Worker, slot: str) -> None:
    while await product.services.runs.active():
        if not await worker.work_once(slot):
            await product.execute("update runs set retry_at = now() where retry_at > now()")


async def busy_pages(product: Product) -> tuple[UUID, Pages]:
    flow = await product.add_flow("busy", chatty, FailsOnce(), chatty)
    watched = (await product.services.runs.trigger("busy")).run_id
    pages, worker = Pages(), product.worker(flow)
    await asyncio.gather(
        pages.load(product, watched),
        trigger_and_cancel(product),
        *(work_until_all_is_done(product, worker, f"worker/{number}") for number in range(3)),
    )
    return watched, pages


async def test_a_page_loaded_at_any_moment_of_busy_work_ends_in_the_true_state(
    product: Product, log: PostgresLog
) -> None:
    async def since(state: State[Any], channel: str, kind: Any) -> list[Any]:
        batch = await log.replay(Cursor.parse(state.cursor), [channel])
        return [msgspec.json.decode(record.payload, type=kind) for record in batch.records]

    watched, pages = await busy_pages(product)
    assert pages.runs[0].data != pages.runs[-1].data
    for page in pages.runs:
        events = await since(page, "run_update", RunUpdate)
        assert reduce(in_runs, events, page.data) == (await product.services.runs.newest(200)).data
    for shown in pages.details:
        events = await since(shown, channels.run(watched).name, RunUpdate | StepUpdate | LogLine)
        assert reduce(in_detail, events, shown.data) == await product.detail(watched)
    for plotted in pages.dashboards:
        events = await since(plotted, "dashboard", DashboardUpdate)
        assert [*plotted.data, *events] == (await product.services.dashboard.history()).data
