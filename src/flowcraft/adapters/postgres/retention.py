"""Retention: the log is kept to its window, and what must not be kept at all is removed at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from flowcraft.adapters.postgres.connections import OwnPool, unavailable
from flowcraft.adapters.postgres.statements import statement

if TYPE_CHECKING:
    from flowcraft.adapters.postgres.connections import Pool

logger = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS = 60.0
TICKS_PER_WINDOW = 20


class PostgresRetention:
    """Removes old events, now and then, for as long as it runs. Of several nodes that do, one at a time acts.

    Nothing has to be made in time for those who write: see `flowcraft.rotate`. `ticked` is called when a look
    at the log has succeeded. It takes a pool, which stays the caller's, or a dsn, for which it opens its own;
    `close` closes that.
    """

    def __init__(self, database: str | Pool, *, keep_seconds: float, ticked: Callable[[], None]) -> None:
        self._pool = OwnPool(database, size=1)
        self._keep = timedelta(seconds=keep_seconds)
        self._pause = min(LONGEST_PAUSE_SECONDS, keep_seconds / TICKS_PER_WINDOW)
        self._ticked = ticked

    async def run(self) -> None:
        """Look after the log until cancelled.

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
        """Do what is due, and tell what that was.

        Raises:
            LogUnavailable: it cannot be written now.
        """
        with unavailable():
            async with self._pool.connection() as connection:
                done: str | None = await connection.fetchval(statement("rotate"), self._keep)
                return done

    async def close(self) -> None:
        """Close the connection, if it is our own."""
        await self._pool.close()


async def purge(dsn: str, channels: Sequence[str | None], *, dry_run: bool) -> list[int]:
    """Remove the events of channels, of families (`runs.*`) or all (None), together; return how many of each.

    What a node has in memory it may still replay, and who resumes later is not told that there was something.

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
