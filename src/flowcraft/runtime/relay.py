"""The relay: follow the log from the last cursor and hand each batch to the hub."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from flowcraft.cursors import Cursor, ResetReason
from flowcraft.errors import CursorRewound, CursorUnusable
from flowcraft.ports import EventLog, Wakeups
from flowcraft.records import Batch, Limit


class Relay:
    """Reads what became visible, again and again. It holds the position, not the subscribers.

    `reading` is told before every read, `feed` after it, also of an empty one: the position has then been
    confirmed. `begin` is told where it starts, and starts anew when the database does not continue what was
    delivered: with the reason.
    `paced` returns once what was fed has left, so that no more is read than can be written.
    A reader that is more than `limit` behind starts anew too (`expired`): one read is held in memory.
    """

    def __init__(
        self,
        log: EventLog,
        wakeups: Wakeups,
        *,
        feed: Callable[[Batch], None],
        begin: Callable[[Batch, ResetReason], None],
        paced: Callable[[], Awaitable[None]] | None = None,
        reading: Callable[[], None] | None = None,
        limit: Limit | None = None,
    ) -> None:
        self._log = log
        self._wakeups = wakeups
        self._feed = feed
        self._begin = begin
        self._paced = paced
        self._reading = reading
        self._limit = limit
        self._cursor: Cursor | None = None

    async def run(self) -> None:
        """Follow the log until cancelled.

        Raises:
            LogUnavailable: it cannot be read; run again, and it goes on from the same cursor.
        """
        while True:
            if self._reading is not None:
                self._reading()
            batch = await self._read()
            self._cursor = batch.cursor
            if self._paced is not None:
                await self._paced()
            await self._wakeups.wait()

    async def _read(self) -> Batch:
        if self._cursor is None:
            batch = await self._log.position()
            self._begin(batch, "expired")
            return batch
        try:
            batch = await self._log.tail(self._cursor, limit=self._limit)
        except CursorRewound as error:
            batch = await self._log.rewound(self._cursor)
            self._begin(batch, error.reason)
        except CursorUnusable as error:
            batch = await self._log.position()
            self._begin(batch, error.reason)
        else:
            self._feed(batch)
        return batch
