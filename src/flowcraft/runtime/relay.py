"""Relay: read new batches from the log, with skipped records for events that do not fit, for the hub."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from flowcraft.channels import Channels
from flowcraft.core.screening import Screening
from flowcraft.cursors import Cursor, ResetReason
from flowcraft.errors import CursorRewound, CursorUnusable, LogTimeout, LogUnavailable
from flowcraft.ports import EventLog, Wakeups
from flowcraft.records import Batch, Limit
from flowcraft.runtime.skipped_records import SkippedRecords

logger = logging.getLogger(__name__)

MOST_ATTEMPTS = 3
"""Failed reads from one cursor, after which the relay goes on from the end of the log if it can read that.

One or two may be a restart of the database; an event that cannot be read fails every time.
"""


class Receiver(Protocol):
    """Takes what the relay reads."""

    def reading(self) -> None:
        """Note that the log is about to be read."""
        ...

    def feed(self, batch: Batch) -> None:
        """Take the next batch; without records it confirms the position."""
        ...

    def begin(self, start: Batch, reason: ResetReason) -> None:
        """Take the first position, or one that does not continue what was delivered."""
        ...

    async def until_sent(self) -> None:
        """Wait until the last batch has been sent: the relay reads no more than can be sent."""
        ...


class Relay:
    """Reads new batches from the log in a loop. It holds the position, not the subscribers.

    A relay with a backlog of more than `limit` begins from the end of the log (`expired`), because a read is
    held in memory. The relay also does so when reads from one cursor fail three times, or time out, although
    the position can be read (`unreadable`): one bad event must not keep all clients from later ones.
    """

    def __init__(
        self, log: EventLog, wakeups: Wakeups, receiver: Receiver, limit: Limit | None = None
    ) -> None:
        self._log = log
        self._wakeups = wakeups
        self._receiver = receiver
        self._limit = limit
        self._cursor: Cursor | None = None
        self._failed = 0
        self._gave_up = False
        """Whether it began from the end of the log and has not read since: it does so once, not in a loop."""

    async def run(self, recovered: Callable[[], None] = lambda: None) -> None:
        """Read the log until cancelled. `recovered` is called after the first read.

        Raises:
            LogUnavailable: the log cannot be read; `run` goes on from the same cursor.
            Exception: a read failed in another way; `run` goes on from the same cursor.
        """
        await self._step()
        recovered()
        while True:
            await self._receiver.until_sent()
            await self._wakeups.wait()
            await self._step()

    async def _step(self) -> None:
        self._receiver.reading()
        self._cursor = (await self._read()).cursor

    async def _read(self) -> Batch:
        if self._cursor is None:
            batch = await self._log.position()
            self._receiver.begin(batch, "expired")
            return batch
        try:
            batch = await self._log.tail(self._cursor, limit=self._limit)
        except CursorRewound as error:
            batch = await self._log.rewound(self._cursor)
            self._receiver.begin(batch, error.reason)
        except CursorUnusable as error:
            batch = await self._log.position()
            self._receiver.begin(batch, error.reason)
        except Exception as error:
            if isinstance(error, LogUnavailable) and not isinstance(error, LogTimeout):
                raise
            batch = await self._give_up(self._cursor, error)
        else:
            self._receiver.feed(batch)
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
        self._receiver.begin(batch, "unreadable")
        return batch


class ScreenedLog:
    """A log of events that fit their channels; any other is skipped, counted and logged.

    Of a replay nothing is counted: `tail` has returned the same records before.
    """

    def __init__(self, log: EventLog, channels: Channels) -> None:
        self._log = log
        self._screening = Screening(channels)
        self.skipped = SkippedRecords(channels)
        """Counts and logs them."""

    async def position(self) -> Batch:
        return await self._log.position()

    async def tail(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        batch, skips = self._screening.screen(await self._log.tail(after, limit=limit))
        for skip in skips:
            self.skipped.report(skip)
        return batch

    async def replay(self, after: Cursor, channels: Sequence[str], *, limit: Limit | None = None) -> Batch:
        batch, _ = self._screening.screen(await self._log.replay(after, channels, limit=limit))
        return batch

    async def rewound(self, last: Cursor) -> Batch:
        return await self._log.rewound(last)
