"""Runs in PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import msgspec

from examples.flowcraft.api.adapters.postgres.database import Database, PostgresTransaction, sql
from examples.flowcraft.api.core.domain.events import (
    FlowUpdate,
    Initiator,
    LogLevel,
    LogLine,
    RunUpdate,
    StepUpdate,
)
from examples.flowcraft.api.core.ports import Audit, RunDetail, RunVersion, State


class PostgresRunTransaction(PostgresTransaction):
    """Runs, inside one transaction."""

    async def flow(self, flow_id: str) -> FlowUpdate | None:
        """Return a flow."""
        return await self._one("flow", flow_id, of=FlowUpdate)

    async def insert(self, flow: FlowUpdate, triggered_by: Initiator) -> UUID:
        """Add a queued run with its steps."""
        run_id: UUID = await self._connection.fetchval(
            sql("insert_run"), flow.flow_id, flow.name, triggered_by, flow.steps
        )
        return run_id

    async def lock(self, run_id: UUID) -> RunUpdate | None:
        """Return a run and hold its row."""
        return await self._one("lock_run", run_id, of=RunUpdate)

    async def steps(self, run_id: UUID) -> list[StepUpdate]:
        """Return the steps of a run."""
        return await self._one("steps_of_run", run_id, of=list[StepUpdate]) or []

    async def save(self, run: RunUpdate) -> None:
        """Write what can change in a run."""
        await self._connection.execute(
            sql("save_run"),
            run.run_id,
            run.status,
            run.progress,
            run.attempt,
            run.current_step,
            run.cancel_requested,
            run.error,
            run.started_at,
            run.finished_at,
            run.retry_at,
        )

    async def save_step(self, step: StepUpdate) -> None:
        """Write what can change in a step."""
        await self._connection.execute(
            sql("save_step"),
            step.run_id,
            step.position,
            step.status,
            step.progress,
            step.attempt,
            step.error,
            step.started_at,
            step.finished_at,
        )

    async def add_line(self, run_id: UUID, text: str, level: LogLevel, position: int | None) -> LogLine:
        """Add a line to the log of a run."""
        line = await self._one("add_line", run_id, level, position, text, of=LogLine)
        assert line is not None
        return line

    async def claim(self, worker: str, lease_seconds: float) -> RunUpdate | None:
        """Lock and lease a run that wants a worker."""
        run_id: UUID | None = await self._connection.fetchval(sql("claim_run"))
        if run_id is None or not await self._does("lease_run", run_id, worker, lease_seconds):
            return None
        return await self.lock(run_id)

    async def renew(self, run_id: UUID, worker: str, lease_seconds: float) -> bool:
        """Extend a lease that is held."""
        return await self._does("renew_lease", run_id, worker, lease_seconds)

    async def leave(self, run_id: UUID) -> None:
        """End the lease on a run."""
        await self._connection.execute(sql("end_lease"), run_id)


class PostgresRuns:
    """Where runs are kept."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresRunTransaction]:
        """Begin a transaction."""
        async with self._database.transaction() as connection:
            yield PostgresRunTransaction(connection)

    async def detail(self, run_id: UUID) -> State[RunDetail] | None:
        """Return one run with its log."""
        return await self._database.state("run_detail", run_id, of=RunDetail)

    async def active(self) -> int:
        """Count the runs that are queued or running."""
        async with self._database.connection() as connection:
            count: int = await connection.fetchval(sql("count_active"))
        return count

    async def audit(self) -> Audit:
        """Return the versions of the newest runs."""
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(sql("audit"))
        assert row is not None
        return Audit(msgspec.json.decode(row["data"], type=list[RunVersion]), row["xid"])

    async def prune(self, keep: int) -> None:
        """Forget finished runs beyond the newest so many."""
        async with self._database.connection() as connection:
            await connection.execute(sql("prune_runs"), keep)
