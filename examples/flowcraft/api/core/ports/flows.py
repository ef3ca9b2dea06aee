"""The port of flows: what can be run."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from examples.flowcraft.api.core.domain.events import FlowUpdate
from examples.flowcraft.api.core.ports.transaction import State, Transaction


class FlowTransaction(Transaction, Protocol):
    """Flows, inside one transaction."""

    async def set_paused(self, flow_id: str, *, paused: bool) -> bool:
        """Pause or resume a flow. False: there is no such flow."""
        ...


class FlowRepository(Protocol):
    """Where flows are kept."""

    def transaction(self) -> AbstractAsyncContextManager[FlowTransaction]:
        """Begin a transaction: it commits at the end of the block, and rolls back if the block raises."""
        ...

    async def all(self) -> State[list[FlowUpdate]]:
        """Return the flows, by name."""
        ...
