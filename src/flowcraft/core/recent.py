"""Recent: the newest events in memory, so that most replays need no read of the log."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from mmap import mmap
from operator import itemgetter

from flowcraft.core.levels import Entry, KeptBatch, KeptChannel, Levels
from flowcraft.cursors import Cursor, Snapshot
from flowcraft.records import Batch, Record, with_families
from flowcraft.settings import Settings

FEW = 4
"""A channel with this many events, or as many bytes as they have on average, is not one that holds much."""
AT_ONCE = 64
"""Records of a channel that are dropped at once, or half of them if there are fewer."""
MARKS = 2**20
"""Transactions whose marks are kept, in 8 bytes each."""


class Recent:
    """The end of the log, as far as the bounds allow: quiet channels keep their events beside a busy one.

    What is too much is dropped from one of the channels that hold most, the oldest first; if none holds more
    than a few events, the oldest batch is dropped, like everything that is too old.

    Positions of one primary are nested, so comparisons decide whether everything after a cursor is here: the
    cursor contains the end of the last batch that was dropped as a whole, and for each of its channels the
    *floor*, the end of the last batch of which records of the channel were dropped. The bounds do not count
    records that outboxes or replays still refer to.
    """

    def __init__(self, start: Cursor, settings: Settings) -> None:
        self._lineage = start.lineage
        self._begin = self._end = start.snapshot
        self._marks = _Marks()
        self._marks.add(start.marks)
        self._settings = settings
        self._event_weight = max(1, settings.recent_bytes // settings.recent_events)
        """An event weighs its bytes and this: shares of the two bounds count alike."""
        self._batches: deque[KeptBatch] = deque()
        self._names = 0
        """Of channels in the batches: one of each record, and of some that were dropped."""
        self._channels: dict[str, KeptChannel] = {}
        self._levels = Levels(FEW * self._event_weight)
        self._floors: OrderedDict[str, tuple[int, Snapshot]] = OrderedDict()
        """By channel, the number and the end of a batch; as many as events at most, the last changed last."""
        self._next = self._next_batch = 0
        self._events = self._bytes = 0

    def __len__(self) -> int:
        return self._events

    def add(self, batch: Batch, now: float) -> None:
        """Append a batch, and drop what is too much or too old. `now` is monotonic."""
        self._end = batch.cursor.snapshot
        self._marks.add(batch.cursor.marks)
        self._marks.add(batch.marks.items())
        if batch.records:
            self._append(batch.records, now)
        while self._batches and now - self._batches[0].at > self._settings.recent_seconds:
            self._drop_batch()
        while self._events > self._settings.recent_events or self._bytes > self._settings.recent_bytes:
            self._drop_excess()
        if self._names > 2 * self._settings.recent_events:
            self._forget_names()

    def reaches(self, since: Cursor, channels: Iterable[str]) -> bool:
        """Return whether every event of channels and their families after a cursor is here.

        A cursor of a history that was put back may lie here, too: an event that it has seen is another one
        here, or unknown. The log knows more.
        """
        snapshot = since.snapshot
        if since.lineage != self._lineage or not snapshot.contains(self._begin):
            return False
        if not all(xid >= self._end.xmax or self._marks.has(xid, mark) for xid, mark in since.marks):
            return False
        floors = map(self._floors.get, with_families(channels)) if self._floors else ()
        return all(floor is None or snapshot.contains(floor[1]) for floor in floors)

    def after(self, since: Cursor, channels: Iterable[str]) -> tuple[Record, ...]:
        """Return the records of channels and their families after a cursor that is reached, in order."""
        snapshot = since.snapshot
        if snapshot.contains(self._end):
            return ()
        found: list[Entry] = []
        for name in with_families(channels):
            channel = self._channels.get(name)
            for entry in reversed(channel.entries) if channel else ():
                if not snapshot.covers(entry[1].xid):
                    found.append(entry)
                elif snapshot.contains(entry[2].end):
                    break
        found.sort(key=itemgetter(0))
        return tuple([entry[1] for entry in found])

    def _append(self, records: tuple[Record, ...], now: float) -> None:
        channels, event_weight, total = self._channels, self._event_weight, 0
        names = [record.channel for record in records]
        kept = KeptBatch(self._next_batch, self._end, now, names)
        for number, record in enumerate(records, self._next):
            channel = channels.get(record.channel)
            if channel is None:
                channel = channels[record.channel] = self._levels.channel(record.channel)
            size = len(record.payload)
            channel.entries.append((number, record, kept, size))
            total += size
            channel.weight += event_weight + size
            if channel.weight >= channel.most:
                self._levels.change(channel)
        self._batches.append(kept)
        self._names += len(names)
        self._next_batch += 1
        self._next += len(records)
        self._events += len(records)
        self._bytes += total

    def _drop_excess(self) -> None:
        """Drop the first events of a channel that holds most: of a batch all, or none."""
        channel = self._levels.heaviest()
        if channel is None:
            self._drop_batch()
            return
        entries = channel.entries
        dropped = [entries.popleft() for _ in range(min(AT_ONCE, (len(entries) + 1) // 2))]
        kept = dropped[-1][2]
        while entries and entries[0][2] is kept:
            dropped.append(entries.popleft())
        self._lighten(channel, len(dropped), sum([entry[3] for entry in dropped]))
        self._levels.move_back(channel)
        self._floors[channel.name] = kept.number, kept.end
        self._floors.move_to_end(channel.name)
        if len(self._floors) > self._settings.recent_events:
            self._begin_after(*self._floors.popitem(last=False)[1])

    def _drop_batch(self) -> None:
        """Drop the oldest batch: no channel reaches further back than its end."""
        kept = self._batches.popleft()
        self._names -= len(kept.channels)
        for name in kept.channels:
            channel = self._channels.get(name)
            if channel is not None and channel.entries[0][2] is kept:
                self._lighten(channel, 1, channel.entries.popleft()[3])
        self._begin = kept.end
        while self._floors and next(iter(self._floors.values()))[0] <= kept.number:
            self._floors.popitem(last=False)

    def _begin_after(self, number: int, end: Snapshot) -> None:
        """Have no channel reach further back than the end of a batch."""
        while self._batches and self._batches[0].number <= number:
            self._drop_batch()
        if end.contains(self._begin):  # the batch itself may have been forgotten
            self._begin = end

    def _forget_names(self) -> None:
        """Have batches name the channels of records that are left, and drop those that have none."""
        left: dict[int, list[str]] = {}
        for channel in self._channels.values():
            for entry in channel.entries:
                left.setdefault(entry[2].number, []).append(channel.name)
        self._batches = deque([kept for kept in self._batches if kept.number in left])
        for kept in self._batches:
            kept.channels = left[kept.number]
        self._names = self._events

    def _lighten(self, channel: KeptChannel, events: int, size: int) -> None:
        """Note that the first events of a channel were dropped."""
        self._events -= events
        self._bytes -= size
        channel.weight -= self._event_weight * events + size
        if channel.weight < channel.least:
            self._levels.change(channel)
        if not channel.entries:
            del self._channels[channel.name]


class _Marks:
    """The marks of the newest transactions: each has its place by its id, and replaces an older one there."""

    def __init__(self) -> None:
        # Not an array: of a mapping the system provides the pages that are used, and few are at first.
        self._places = memoryview(mmap(-1, 8 * MARKS)).cast("Q")

    def add(self, marks: Iterable[tuple[int, int]]) -> None:
        places = self._places
        for xid, mark in marks:
            places[xid % MARKS] = mark

    def has(self, xid: int, mark: int) -> bool:
        """Return whether a transaction has a mark. That of another one is equal by chance once in 10^12."""
        return self._places[xid % MARKS] == mark
