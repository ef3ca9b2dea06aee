"""The port of the dashboard: measuring all runs, and the measurements taken so far."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from examples.flowcraft.api.core.domain.events import DashboardUpdate
from examples.flowcraft.api.core.ports.transaction import Transaction


class DashboardTransaction(Transaction, Protocol):
    """Measurements, inside one transaction."""

    async def take_turn(self) -> bool:
        """Lock the measurement until the end of the transaction; False if another process has it."""
        ...

    async def measure(self) -> DashboardUpdate:
        """Count what is committed now."""
        ...

    async def latest(self) -> DashboardUpdate | None:
        """Return the last measurement that was kept."""
        ...

    async def keep(self, measured: DashboardUpdate, history: int) -> None:
        """Add a measurement to the history, and forget all but the newest so many."""
        ...


class DashboardRepository(Protocol):
    """Where measurements are kept."""

    def transaction(self) -> AbstractAsyncContextManager[DashboardTransaction]:
        """Begin a transaction: it commits at the end of the block, and rolls back if the block raises."""
        ...
