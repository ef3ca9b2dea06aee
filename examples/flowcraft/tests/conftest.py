"""The product on a database of its own, with flows that tests can steer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from examples.flowcraft.api.adapters.http import Services
from examples.flowcraft.api.adapters.postgres import Database, PostgresRuns
from examples.flowcraft.api.adapters.postgres.database import sql
from examples.flowcraft.api.adapters.postgres.migrate import migrate
from examples.flowcraft.api.core.domain.channels import channels
from examples.flowcraft.api.core.domain.events import LogLine, RunStatus, RunUpdate, StepStatus, StepUpdate
from examples.flowcraft.api.core.services import ExecutionService
from examples.flowcraft.api.main import services
from examples.flowcraft.api.worker import Flow, Step, Worker
from examples.flowcraft.api.worker.step import Work
from flowcraft import Realtime
from flowcraft.adapters.postgres import schema


@dataclass(frozen=True)
class Shown:
    """What the page of a run shows."""

    run: RunUpdate
    steps: list[StepUpdate]
    log: list[LogLine]


@dataclass
class Product:
    """The product without its server: services, a way to make workers, and the database below."""

    dsn: str
    database: Database
    services: Services
    execution: ExecutionService

    async def add_flow(self, flow_id: str, *work: Work) -> Flow:
        """Add a flow whose steps are called step 1, step 2 …"""
        steps = tuple(Step(f"step {number}", each) for number, each in enumerate(work, start=1))
        flow = Flow(flow_id, flow_id.capitalize(), "", steps)
        await self.execute(sql("upsert_flow"), flow_id, flow.name, "", [step.name for step in steps])
        return flow

    def worker(self, *flows: Flow, name: str = "worker", slots: int = 1) -> Worker:
        """Make a worker that polls and renews in a hurry."""
        return Worker(self.execution, flows, name=name, slots=slots, poll_seconds=0.01, renew_seconds=0.02)

    async def execute(self, query: str, *arguments: object) -> None:
        async with self.database.connection() as connection:
            await connection.execute(query, *arguments)

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        async with self.database.connection() as connection:
            return [tuple(row) for row in await connection.fetch(query)]

    async def detail(self, run_id: UUID) -> Shown:
        detail = (await self.services.runs.detail(run_id)).data
        async with PostgresRuns(self.database).transaction() as tx:
            return Shown(detail.run, await tx.steps(run_id), detail.log)

    async def status(self, run_id: UUID) -> tuple[RunStatus, list[StepStatus]]:
        detail = await self.detail(run_id)
        return detail.run.status, [step.status for step in detail.steps]

    async def lines(self, run_id: UUID) -> list[str]:
        return [line.text for line in (await self.detail(run_id)).log]


@pytest.fixture
async def product(database: str) -> AsyncIterator[Product]:
    await migrate(database)
    await schema.migrate(database, channels)
    async with Database(database) as pool, Realtime(channels, dsn=database) as realtime:
        yield Product(
            database,
            pool,
            services(realtime.service, pool),
            ExecutionService(realtime.service, PostgresRuns(pool)),
        )
