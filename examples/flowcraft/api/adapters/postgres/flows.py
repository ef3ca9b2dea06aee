"""Flows in PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from examples.flowcraft.api.adapters.postgres.database import Database, PostgresTransaction
from examples.flowcraft.api.core.domain.events import FlowUpdate
from examples.flowcraft.api.core.ports import State


class PostgresFlowTransaction(PostgresTransaction):
    """Flows, inside one transaction."""

    async def set_paused(self, flow_id: str, *, paused: bool) -> bool:
        """Pause or resume a flow."""
        return await self._does("pause_flow", flow_id, paused)


class PostgresFlows:
    """Where flows are kept."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresFlowTransaction]:
        """Begin a transaction."""
        async with self._database.transaction() as connection:
            yield PostgresFlowTransaction(connection)

    async def all(self) -> State[list[FlowUpdate]]:
        """Return the flows."""
        state = await self._database.state("all_flows", of=list[FlowUpdate])
        assert state is not None
        return state
