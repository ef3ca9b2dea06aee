"""Flows: which there are, and whether they take new runs."""

from __future__ import annotations

from examples.flowcraft.api.core.domain.errors import FlowNotFound
from examples.flowcraft.api.core.domain.events import FlowUpdate
from examples.flowcraft.api.core.ports import FlowRepository, State


class FlowService:
    """What people do with flows. It needs no RealtimeService: `flow_rows` are the table."""

    def __init__(self, flows: FlowRepository) -> None:
        self._flows = flows

    async def all(self) -> State[list[FlowUpdate]]:
        """Return the flows, by name."""
        return await self._flows.all()

    async def set_paused(self, flow_id: str, *, paused: bool) -> str:
        """Pause or resume a flow. Return the transaction.

        Raises:
            FlowNotFound: there is no such flow.
        """
        async with self._flows.transaction() as tx:
            if not await tx.set_paused(flow_id, paused=paused):
                raise FlowNotFound(flow_id)
            return await tx.xid()
