"""The log of a run: a line is stored and broadcast in one transaction."""

from __future__ import annotations

from uuid import UUID

from examples.flowcraft.api.core.domain import channels
from examples.flowcraft.api.core.domain.events import LogLevel
from examples.flowcraft.api.core.ports import RealtimeService, RunTransaction


class RunLog:
    """Writes log lines. The caller has locked the run, so the lines come in the order of their numbers."""

    def __init__(self, realtime: RealtimeService) -> None:
        self._realtime = realtime

    async def write(
        self,
        tx: RunTransaction,
        run_id: UUID,
        text: str,
        level: LogLevel = "info",
        position: int | None = None,
    ) -> None:
        """Add a line. It appears on the pages if and when the transaction commits."""
        line = await tx.add_line(run_id, text, level, position)
        await self._realtime.broadcast(channels.run(run_id), line, via=tx.connection)
