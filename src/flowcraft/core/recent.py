"""Recent: the newest events in memory, so that most replays need no read of the log."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter

from flowcraft.cursors import Cursor, Snapshot
from flowcraft.records import Batch, Record, with_families
from flowcraft.settings import Settings

_Numbered = tuple[int, Record]


@dataclass(frozen=True, slots=True)
class _Kept:
    """A batch: the number of its first record, the records, their bytes, the position after it, its time."""

    first: int
    records: tuple[Record, ...]
    size: int
    end: Snapshot
    at: float
    marked: tuple[int, ...]
    """The transactions whose marks are known from it."""


class Recent:
    """A window of the log that ends at the hub's position and reaches back as far as its bounds allow.

    Whole batches are dropped from the front. Positions of one primary are nested, so one comparison decides
    whether a cursor lies in the window, and a binary search finds the first batch after it; the cost of a
    replay is its own events. The bounds do not count records that outboxes or replays still refer to.
    """

    def __init__(self, start: Cursor, settings: Settings) -> None:
        self._lineage = start.lineage
        self._begin = start.snapshot
        self._end = start.snapshot
        self._marks = dict(start.marks)
        self._settings = settings
        self._batches: deque[_Kept] = deque()
        self._channels: dict[str, deque[_Numbered]] = {}
        self._next = 0
        self._events = 0
        self._bytes = 0

    def __len__(self) -> int:
        return self._events

    def add(self, batch: Batch, now: float) -> None:
        """Append a batch, and drop the oldest ones while the bounds are exceeded. `now` is monotonic."""
        self._end = batch.cursor.snapshot
        self._marks.update(batch.cursor.marks)
        self._marks.update(batch.marks)
        if batch.records:
            size = sum(len(record.payload) for record in batch.records)
            end, marked = batch.cursor.snapshot, tuple(batch.marks)
            self._batches.append(_Kept(self._next, batch.records, size, end, now, marked))
            for number, record in enumerate(batch.records, self._next):
                kept = self._channels.get(record.channel)
                if kept is None:
                    kept = self._channels[record.channel] = deque()
                kept.append((number, record))
            self._next += len(batch.records)
            self._events += len(batch.records)
            self._bytes += size
        while self._batches and self._exceeds_bounds(now):
            self._drop_oldest(self._batches.popleft())

    def reaches(self, since: Cursor) -> bool:
        """Return whether the window has every event between a cursor and the hub's position.

        A cursor of a history that was put back may lie in it, too: an event that it has seen is another one
        here, or unknown. The log knows more.
        """
        return (
            since.lineage == self._lineage
            and since.snapshot.contains(self._begin)
            and all(xid >= self._end.xmax or self._marks.get(xid) == mark for xid, mark in since.marks)
        )

    def after(self, since: Cursor, channels: Iterable[str]) -> tuple[Record, ...]:
        """Return the records of channels and their families after a cursor in the window, in their order."""
        unseen = bisect_left(self._batches, True, key=lambda kept: not since.snapshot.contains(kept.end))
        if unseen == len(self._batches):
            return ()
        first = self._batches[unseen].first
        found: list[_Numbered] = []
        for channel in with_families(channels):
            for numbered in reversed(self._channels.get(channel, ())):
                if numbered[0] < first:
                    break
                if not since.covers(numbered[1].xid):
                    found.append(numbered)
        found.sort(key=itemgetter(0))
        return tuple([record for _, record in found])

    def _exceeds_bounds(self, now: float) -> bool:
        limits = self._settings
        too_many = self._events > limits.recent_events or self._bytes > limits.recent_bytes
        return too_many or now - self._batches[0].at > limits.recent_seconds

    def _drop_oldest(self, kept: _Kept) -> None:
        self._begin = kept.end
        for xid in kept.marked:
            self._marks.pop(xid, None)
        self._events -= len(kept.records)
        self._bytes -= kept.size
        for record in kept.records:
            numbered = self._channels[record.channel]
            numbered.popleft()
            if not numbered:
                del self._channels[record.channel]
