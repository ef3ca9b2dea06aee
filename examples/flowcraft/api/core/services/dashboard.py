"""The dashboard: figures of all runs, measured when something may have changed."""

from __future__ import annotations

from msgspec.structs import replace

from examples.flowcraft.api.core.domain import channels
from examples.flowcraft.api.core.domain.events import DashboardUpdate
from examples.flowcraft.api.core.ports import DashboardRepository, RealtimeService, State

HISTORY = 300


class DashboardService:
    """Measures and broadcasts the figures.

    Why not count in the transaction that changes a run? Two of those do not see each other: each would
    broadcast figures without the other's run, and the pages would be wrong until the next change. So one at a
    time measures what is *committed*, about once a second, and broadcasts in the transaction that keeps the
    measurement. Turns are taken by a lock: any number of processes may call `refresh`, and the figures never
    go back.
    """

    def __init__(self, realtime: RealtimeService, dashboard: DashboardRepository) -> None:
        self._realtime = realtime
        self._dashboard = dashboard

    async def history(self) -> State[list[DashboardUpdate]]:
        """Return the last measurements, the oldest first; the last one is what the dashboard shows now."""
        return await self._dashboard.history(HISTORY)

    async def refresh(self) -> bool:
        """Measure, and broadcast if a figure has changed; return whether it had."""
        async with self._dashboard.transaction() as tx:
            if not await tx.take_turn():
                return False
            measured, latest = await tx.measure(), await tx.latest()
            if latest is not None and replace(latest, at=measured.at) == measured:
                return False
            await tx.keep(measured)
            await self._realtime.broadcast(channels.dashboard, measured, via=tx.connection)
            return True
