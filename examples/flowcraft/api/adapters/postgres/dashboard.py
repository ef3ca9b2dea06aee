"""The dashboard's measurements in PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from examples.flowcraft.api.adapters.postgres.database import Database, PostgresTransaction, sql
from examples.flowcraft.api.core.domain.events import DashboardUpdate


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

    async def keep(self, measured: DashboardUpdate, history: int) -> None:
        """Add a measurement to the history, and forget the oldest."""
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
            history,
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
