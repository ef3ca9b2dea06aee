"""Tailing: follow the log of a database, and hand on what is committed on some channels.

By asking now and then, without the doorbell: a terminal that is stopped must not hold a lock for which
servers would then not be rung.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.cursors import Cursor
from flowcraft.errors import CursorUnusable, LogUnavailable
from flowcraft.records import Batch, Record

POLL_SECONDS, RETRY_SECONDS = 0.2, 1.0
OnRecord = Callable[[Record, Batch], None]


class Patterns:
    """Names of channels, families such as `runs.*`, or `*`; none at all stand for every channel."""

    def __init__(self, patterns: Sequence[str]) -> None:
        everything = not patterns or "*" in patterns
        self._names = frozenset(patterns)
        self._prefixes = ("",) if everything else tuple(p[:-1] for p in patterns if p.endswith(".*"))

    def fit(self, channel: str) -> bool:
        """Tell whether one of them stands for this channel."""
        return channel in self._names or channel.startswith(self._prefixes)


async def tail(
    dsn: str, patterns: Patterns, since: Cursor | None, heard: OnRecord, tell: Callable[[str], None]
) -> None:
    """Follow until cancelled. `tell` is told of what is not an event: an outage, a history that is another.

    Raises:
        CursorUnusable: `since` is not a position from which this log can be followed.
    """
    log = PostgresLog(dsn)
    cursor, reached = since, False
    try:
        while True:
            try:
                batch = await (log.position() if cursor is None else log.tail(cursor))
            except LogUnavailable as error:
                tell(f"{error}; trying again")
                await asyncio.sleep(RETRY_SECONDS)
                continue
            except CursorUnusable as error:
                if not reached:
                    raise
                tell(f"the log does not go on from where it was ({error.reason}); following from here")
                cursor = None
                continue
            cursor, reached = batch.cursor, True
            for event in batch.unreadable:
                if patterns.fit(event.channel):
                    tell(f"event {event.id} on {event.channel} cannot be read: {event.reason}")
            for record in batch.records:
                if patterns.fit(record.channel):
                    heard(record, batch)
            await asyncio.sleep(POLL_SECONDS)
    finally:
        await log.close()
