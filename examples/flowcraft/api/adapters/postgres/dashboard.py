"""The dashboard's measurements in PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from examples.flowcraft.api.adapters.postgres.database import Database, PostgresTransaction, sql
from examples.flowcraft.api.core.domain.events import DashboardUpdate
from examples.flowcraft.api.core.ports import State


class PostgresDashboardTransaction(PostgresTransaction):
    """Measurements, inside one transaction."""

    async def take_turn(self) -> bool:
        """Be the only one to measure."""
        return bool(await self._connection.fetchval(sql("take_turn")))

    async def measure(self) -> DashboardUpdate:
        """Count what is committed now."""
        measured = await self._one("measure", of=DashboardUpdate)
        assert measured is not None
        return measured

    async def latest(self) -> DashboardUpdate | None:
        """Return the last measurement that was kept."""
        return await self._one("latest_measurement", of=DashboardUpdate)

    async def keep(self, measured: DashboardUpdate) -> None:
        """Add a measurement to the history."""
        await self._connection.execute(
            sql("keep_measurement"),
            measured.at,
            measured.queued,
            measured.running,
            measured.succeeded,
            measured.failed,
            measured.cancelled,
            measured.runs_per_minute,
            measured.success_rate,
            measured.mean_seconds,
        )


class PostgresDashboard:
    """Where measurements are kept."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresDashboardTransaction]:
        """Begin a transaction."""
        async with self._database.transaction() as connection:
            yield PostgresDashboardTransaction(connection)

    async def history(self, limit: int) -> State[list[DashboardUpdate]]:
        """Return the last measurements."""
        state = await self._database.state("measurements", limit, of=list[DashboardUpdate])
        assert state is not None
        return state
