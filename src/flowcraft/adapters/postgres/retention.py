"""Retention: remove events that are older than the window, and at once those that an operator purges."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from flowcraft.adapters.postgres.held_locks import held_locks
from flowcraft.adapters.postgres.pool import OwnPool, unavailable
from flowcraft.adapters.postgres.statements import ROTATE_LOCK, statement

if TYPE_CHECKING:
    from flowcraft.adapters.postgres.connections import AnyConnection, Pool

logger = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS = 60.0
TICKS_PER_WINDOW = 20
"""`rotate` acts every half window: called 20 times in one, it is late by a tenth of that at most."""


class PostgresRetention:
    """Removes old events at intervals, for as long as it runs. Of several nodes that do, one at a time acts.

    Writers need no partition in advance: see `flowcraft.rotate`. `ticked` is called when a call of that has
    succeeded. The class takes a pool, which stays the caller's, or a dsn, for which it opens its own; `close`
    closes that.
    """

    def __init__(self, database: str | Pool, *, keep_seconds: float, ticked: Callable[[], None]) -> None:
        self._pool = OwnPool(database, size=1)
        self._keep = timedelta(seconds=keep_seconds)
        self._pause = min(LONGEST_PAUSE_SECONDS, keep_seconds / TICKS_PER_WINDOW)
        self._ticked = ticked
        self._reported: frozenset[int | None] = frozenset()

    async def run(self) -> None:
        """Rotate the log until cancelled.

        Raises:
            LogUnavailable: it cannot be written now; events are kept for longer, run it again.
        """
        while True:
            done = await self.tick()
            self._ticked()
            if done is not None:
                logger.info("retention: %s", done)
            await asyncio.sleep(self._pause)

    async def tick(self) -> str | None:
        """Do what is due; return a description of it, None if nothing was due.

        Raises:
            LogUnavailable: it cannot be written now.
        """
        with unavailable():
            async with self._pool.connection() as connection:
                done: str | None = await connection.fetchval(statement("rotate"), self._keep)
                if done is None:
                    await self._report_holders(connection)
                return done

    async def _report_holders(self, connection: AnyConnection) -> None:
        """Log who keeps the log from being rotated: any role can hold its lock."""
        pids = {held.pid: held.role for held in await held_locks(connection) if held.lock == ROTATE_LOCK}
        for pid in pids.keys() - self._reported:
            logger.error(
                "retention: process %s of role %s holds the lock of the retention, so no event is removed "
                "and the log grows; `flowcraft doctor` shows how to end it",
                pid,
                pids[pid],
            )
        self._reported = frozenset(pids)

    async def close(self) -> None:
        """Close the connection, if it is our own."""
        await self._pool.close()


async def purge(dsn: str, channels: Sequence[str | None], *, dry_run: bool) -> list[int]:
    """Remove the events of channels, of families (`runs.*`) or all (None), together; return how many of each.

    A node may still replay what it has in memory, and a client that resumes later is not notified of the gap.

    Raises:
        LogUnavailable: it cannot be written now, or not by this user.
    """
    pool = OwnPool(dsn, size=1)
    try:
        with unavailable():
            async with pool.connection() as connection, connection.transaction():
                return [await connection.fetchval(statement("purge"), name, dry_run) for name in channels]
    finally:
        await pool.close()
