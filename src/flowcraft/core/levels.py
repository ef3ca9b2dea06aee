"""Levels: find the channel that holds most of the events in memory, in constant time."""

from __future__ import annotations

from collections import OrderedDict, deque

import msgspec

from flowcraft.cursors import Snapshot
from flowcraft.records import Record


class KeptBatch(msgspec.Struct, gc=False):
    """A batch: its number, the position after it, its time, the channels of its records."""

    number: int
    end: Snapshot
    at: float
    channels: list[str]


Entry = tuple[int, Record, KeptBatch, int]


class KeptChannel(msgspec.Struct, gc=False):
    """The records of a channel, what they weigh, and the weights at which it changes its level."""

    name: str
    most: int
    entries: deque[Entry]
    least: int = 0
    level: int = 0
    weight: int = 0


class Levels:
    """The channels that hold more than a few events, by weight: each level begins at twice the last one.

    A channel keeps its level until it has less than half of what the level begins at.
    """

    def __init__(self, few: int) -> None:
        """Take the weight of a few events."""
        self._few = few
        self._levels: dict[int, OrderedDict[str, KeptChannel]] = {}

    def channel(self, name: str) -> KeptChannel:
        """Return a channel that has no records yet."""
        return KeptChannel(name, self._few, deque())

    def heaviest(self) -> KeptChannel | None:
        """Return the first of the channels with the highest level, if one has more than a few events."""
        return next(iter(self._levels[max(self._levels)].values())) if self._levels else None

    def move_back(self, channel: KeptChannel) -> None:
        """Have the others of its level come before a channel."""
        if channel.level:
            self._levels[channel.level].move_to_end(channel.name)

    def change(self, channel: KeptChannel) -> None:
        """Find the level of a channel whose weight has left its bounds."""
        before, channel.level = channel.level, (channel.weight // self._few).bit_length()
        channel.most = self._few << channel.level
        channel.least = channel.most >> 2 if channel.level else 0
        if before:
            del self._levels[before][channel.name]
            if not self._levels[before]:
                del self._levels[before]
        if channel.level:
            self._levels.setdefault(channel.level, OrderedDict())[channel.name] = channel
