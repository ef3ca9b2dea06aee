"""Log tail: read the log of a database, and pass on the records of some channels.

This reader polls and takes no part in wakeups: a terminal that is stopped (Ctrl-Z) must not hold the lock
that makes writers skip the NOTIFY for servers.
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
    """Names of channels, families such as `runs.*`, or `*`; an empty sequence matches every channel."""

    def __init__(self, patterns: Sequence[str]) -> None:
        everything = not patterns or "*" in patterns
        self._names = frozenset(patterns)
        self._prefixes = ("",) if everything else tuple(p[:-1] for p in patterns if p.endswith(".*"))

    def fit(self, channel: str) -> bool:
        """Return whether a pattern matches this channel."""
        return channel in self._names or channel.startswith(self._prefixes)


async def tail(
    dsn: str, patterns: Patterns, since: Cursor | None, on_record: OnRecord, report: Callable[[str], None]
) -> None:
    """Read the log until cancelled. `report` is called with each outage, unreadable event and lost cursor.

    Raises:
        CursorUnusable: the log cannot be read from `since`.
    """
    log = PostgresLog(dsn)
    cursor, reached = since, False
    try:
        while True:
            try:
                batch = await (log.position() if cursor is None else log.tail(cursor))
            except LogUnavailable as error:
                report(f"{error}; retrying")
                await asyncio.sleep(RETRY_SECONDS)
                continue
            except CursorUnusable as error:
                if not reached:
                    raise
                report(f"the log cannot be read on from the last cursor ({error.reason}); starting from now")
                cursor = None
                continue
            cursor, reached = batch.cursor, True
            for event in batch.unreadable:
                if patterns.fit(event.channel):
                    report(f"event {event.id} on {event.channel} cannot be read: {event.reason}")
            for record in batch.records:
                if patterns.fit(record.channel):
                    on_record(record, batch)
            await asyncio.sleep(POLL_SECONDS)
    finally:
        await log.close()
