"""Skipped records: count and log what no client receives as an event."""

from __future__ import annotations

import logging

from flowcraft.channels import Channels
from flowcraft.core.counts import Counts
from flowcraft.core.screening import UNDECLARED, Skip
from flowcraft.errors import ChannelNameInvalid, ChannelUnknown

logger = logging.getLogger(__name__)

_MOST_UNDECLARED = 100
"""Prefixes of undeclared channels that are logged: another application may have its channels in this log."""


class SkippedRecords:
    """The records of a log that do not fit their channels."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels
        self.counts = Counts()
        """Those of the node that reads the log."""
        self._undeclared: set[str] = set()

    def report(self, skip: Skip) -> None:
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
            detail = self.suggestion(channel)
        logger.warning(
            "event %d on %.120s is not delivered (%s): %.400s", skip.record.id, channel, skip.reason, detail
        )

    def suggestion(self, channel: str) -> str:
        """Describe why no client can subscribe to a channel; takes 0.1 ms."""
        try:
            self._channels.resolve(channel)
        except (ChannelUnknown, ChannelNameInvalid) as error:
            return str(error)
        return "no channel has this name"
