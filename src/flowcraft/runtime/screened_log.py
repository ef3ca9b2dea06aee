"""Screened log: a log of events that fit their channels; any other is skipped, counted and logged."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from flowcraft.channels import Channels
from flowcraft.core.counts import Counts
from flowcraft.core.screening import UNDECLARED, Screening, Skip
from flowcraft.cursors import Cursor
from flowcraft.ports import EventLog
from flowcraft.records import Batch, Limit

logger = logging.getLogger(__name__)
_MOST_UNDECLARED = 100
"""Prefixes of undeclared channels that are logged: another application may have its channels in this log."""


class ScreenedLog:
    """Implements `EventLog`. Of a replay nothing is counted: `tail` has returned the same records before."""

    def __init__(self, log: EventLog, channels: Channels) -> None:
        self._log = log
        self._screening = Screening(channels)
        self.counts = Counts()
        """Counts skipped records: those of the node that reads this log."""
        self._undeclared: set[str] = set()

    async def position(self) -> Batch:
        return await self._log.position()

    async def tail(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        batch, skips = self._screening.screen(await self._log.tail(after, limit=limit))
        for skip in skips:
            self._report(skip)
        return batch

    async def replay(self, after: Cursor, channels: Sequence[str], *, limit: Limit | None = None) -> Batch:
        batch, _ = self._screening.screen(await self._log.replay(after, channels, limit=limit))
        return batch

    async def rewound(self, last: Cursor) -> Batch:
        return await self._log.rewound(last)

    def _report(self, skip: Skip) -> None:
        """Count a record that is not delivered, and log it; of undeclared channels the first per prefix."""
        reasons = self.counts.skipped.setdefault(skip.family, {})
        reasons[skip.reason] = reasons.get(skip.reason, 0) + 1
        self.counts.failures["event"] += skip.reason == "unreadable"
        channel, detail = skip.record.channel, skip.detail
        if skip.reason == UNDECLARED:
            prefix = channel.partition(".")[0]
            if prefix in self._undeclared or len(self._undeclared) >= _MOST_UNDECLARED:
                return
            self._undeclared.add(prefix)
            detail = self._screening.suggestion(channel)
        logger.warning(
            "event %d on %.120s is not delivered (%s): %.400s", skip.record.id, channel, skip.reason, detail
        )
