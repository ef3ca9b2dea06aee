"""The dashboard: figures of all runs, measured when something may have changed."""

from __future__ import annotations

from msgspec.structs import replace

from examples.flowcraft.api.core.ports import DashboardRepository

HISTORY = 300


class DashboardService:
    """Measures the figures and keeps them: the pages show `dashboard_rows`, the table of what was measured.

    Why not count in the transaction that changes a run? Two of those do not see each other: each would
    keep figures without the other's run, and the pages would be wrong until the next change. So one at a
    time measures what is *committed*, about once a second. Turns are taken by a lock: any number of processes
    may call `refresh`, and the figures never go back.
    """

    def __init__(self, dashboard: DashboardRepository) -> None:
        self._dashboard = dashboard

    async def refresh(self) -> bool:
        """Measure, and keep the figures if one has changed; return whether it had."""
        async with self._dashboard.transaction() as tx:
            if not await tx.take_turn():
                return False
            measured, latest = await tx.measure(), await tx.latest()
            if latest is not None and replace(latest, at=measured.at) == measured:
                return False
            await tx.keep(measured, HISTORY)
            return True
