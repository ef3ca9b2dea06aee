"""Relay: read new batches from the log and pass them to the hub."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from flowcraft.cursors import Cursor, ResetReason
from flowcraft.errors import CursorRewound, CursorUnusable, LogTimeout, LogUnavailable
from flowcraft.ports import EventLog, Wakeups
from flowcraft.records import Batch, Limit

logger = logging.getLogger(__name__)

MOST_ATTEMPTS = 3
"""Reads from one cursor that may fail before what lies after it is given up, if the position can be read."""


class Relay:
    """Reads what became visible, again and again. It holds the position, not the subscribers.

    `reading` is called before every read, `feed` after it, also with an empty batch: the position has then
    been confirmed. `begin` is called with the first position, and with a new one and the reason when the
    database does not continue what was delivered. `paced` returns once what was fed has been sent, so that no
    more is read than can be written.
    A relay that is more than `limit` behind begins again too (`expired`): one read is held in memory. So does
    one whose reads from the same cursor fail three times, or are not answered in time, although the position
    can be read (`unreadable`): one item must not keep all clients from what comes later.
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
        self._failed = 0
        self._gave_up = False
        """Whether it began again after failures and has not read since: it does so once, not in a loop."""

    async def run(self) -> None:
        """Read the log until cancelled.

        Raises:
            LogUnavailable: it cannot be read; run again, and it goes on from the same cursor.
            Exception: what a read fails with; the same.
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
        except Exception as error:
            if isinstance(error, LogUnavailable) and not isinstance(error, LogTimeout):
                raise
            batch = await self._give_up(self._cursor, error)
        else:
            self._feed(batch)
            self._failed, self._gave_up = 0, False
        return batch

    async def _give_up(self, cursor: Cursor, error: Exception) -> Batch:
        """Return the position to begin again from, unless the read is to be tried again: then raise."""
        self._failed += 1
        if self._failed < MOST_ATTEMPTS or self._gave_up:
            raise error
        batch = await self._log.position()
        logger.error(
            "cursor %.64s: what follows could not be read %d times; every subscriber gets a reset",
            *(cursor, self._failed),
            exc_info=error,
        )
        self._failed, self._gave_up = 0, True
        self._begin(batch, "unreadable")
        return batch
