"""Replay: deliver the events after a cursor to one subscription, without a gap and without an overlap."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import itemgetter

from flowcraft.cursors import Cursor, Snapshot
from flowcraft.records import Batch, Record, with_families
from flowcraft.settings import Settings


@dataclass(slots=True, eq=False)
class Replay:
    """A subscription between its request and its `subscribed`.

    The log is read at a snapshot R, while the hub moves on to a snapshot T. Both are of one primary, so one
    contains the other. If R is newer, its records beyond T will be delivered live: they are dropped here. If
    T is newer, the records between R and T were broadcast in the meantime: they are in `missed`.

    `since` may be newer than the hub: a page reads its state straight from the database. The replay then ends
    once the hub has passed `since`; otherwise the page would receive events that its state contains already.
    One read may serve several replays, from the oldest of their cursors: records that `since` covers are
    dropped.
    """

    session: int
    channels: set[str]
    since: Cursor
    ref: int | None
    missed: list[Record] = field(default_factory=list[Record])
    replayed: tuple[Record, ...] | None = None
    patience: int = 2
    """Batches that the hub may still take to pass `since`, before a read finds out whether `since` is valid.

    2: the read that is under way may have begun before the page read its state; the one after it has not.
    """

    def can_end_at(self, position: Snapshot) -> bool:
        """Return whether a position is at or past `since`."""
        return position.contains(self.since.snapshot)

    @property
    def names(self) -> set[str]:
        """The channels to read: those that are still subscribed, and their families."""
        return with_families(self.channels)

    def merge(self, position: Cursor) -> tuple[Record, ...]:
        """Return the records between `since` and the hub's position, each once, in order."""
        names = self.names
        merged = {
            record.id: record
            for record in self.replayed or ()
            if record.channel in names and position.covers(record.xid) and not self.since.covers(record.xid)
        }
        for record in self.missed:
            if record.channel in names and not self.since.covers(record.xid):
                merged.setdefault(record.id, record)
        return tuple(merged.values())


_Numbered = tuple[int, Record]


@dataclass(frozen=True, slots=True)
class _Kept:
    """A batch: the number of its first record, the records, their bytes, the position after it, its time."""

    first: int
    records: tuple[Record, ...]
    size: int
    end: Snapshot
    at: float


class Recent:
    """A window of the log that ends at the hub's position and reaches back as far as its bounds allow.

    Whole batches are dropped from the front. Positions of one primary are nested, so one comparison decides
    whether a cursor lies in the window, and a binary search finds the first batch after it; the cost of a
    replay is its own events. The bounds do not count records that outboxes or replays still refer to.
    """

    def __init__(self, start: Cursor, settings: Settings) -> None:
        self._lineage = start.lineage
        self._begin = start.snapshot
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
        if batch.records:
            size = sum(len(record.payload) for record in batch.records)
            self._batches.append(_Kept(self._next, batch.records, size, batch.cursor.snapshot, now))
            for record in batch.records:
                self._channels.setdefault(record.channel, deque()).append((self._next, record))
                self._next += 1
            self._events += len(batch.records)
            self._bytes += size
        while self._batches and self._exceeds_bounds(now):
            self._drop_oldest(self._batches.popleft())

    def reaches(self, since: Cursor) -> bool:
        """Return whether the window has every event between a cursor and the hub's position."""
        return since.lineage == self._lineage and since.snapshot.contains(self._begin)

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
        self._events -= len(kept.records)
        self._bytes -= kept.size
        for record in kept.records:
            numbered = self._channels[record.channel]
            numbered.popleft()
            if not numbered:
                del self._channels[record.channel]
