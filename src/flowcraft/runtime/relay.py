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
"""Failed reads from one cursor, after which the relay goes on from the end of the log if it can read that.

One or two may be a restart of the database; an event that cannot be read fails every time.
"""


class Relay:
    """Reads new batches from the log in a loop. It holds the position, not the subscribers.

    `reading` is called before every read, and `feed` after it, also with an empty batch: the position is then
    confirmed. `begin` is called with the first position, and with a new position and the reason when the
    database does not continue what was delivered. `paced` returns once the last batch has been sent, so that
    the relay reads no more than can be sent.

    A relay with a backlog of more than `limit` begins from the end of the log (`expired`), because a read is
    held in memory. The relay also does so when reads from one cursor fail three times, or time out, although
    the position can be read (`unreadable`): one bad event must not keep all clients from later ones.
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
        """Whether it began from the end of the log and has not read since: it does so once, not in a loop."""

    async def run(self) -> None:
        """Read the log until cancelled.

        Raises:
            LogUnavailable: the log cannot be read; `run` goes on from the same cursor.
            Exception: a read failed in another way; `run` goes on from the same cursor.
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
        """Return the end of the log to go on from, or raise the error to have the read tried again."""
        self._failed += 1
        if self._failed < MOST_ATTEMPTS or self._gave_up:
            raise error
        batch = await self._log.position()
        logger.error(
            "the log after cursor %.64s could not be read %d times; every subscriber gets a reset",
            *(cursor, self._failed),
            exc_info=error,
        )
        self._failed, self._gave_up = 0, True
        self._begin(batch, "unreadable")
        return batch
