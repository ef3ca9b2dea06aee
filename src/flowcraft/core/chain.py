"""Chain: join what relays publish into one log, exactly once and in order, whatever is lost on the way.

A broker may lose a message, deliver it twice, or deliver those of two relays in any order. So each message, a
link, has the position after which its relay read. A link continues the chain if that position is contained in
the chain's own: then the chain has every event before it, and drops those that it knows already. Any other
link is ahead: events in between are missing, and the reader has to ask a relay for what follows its own
position. Positions of one primary are nested, so each of these is one comparison.

Lineages are ordered: a promotion begins a new timeline, a loss a new generation. Links of an older one are
ignored: a relay may still read a primary that has been replaced.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from enum import Enum

from flowcraft.cursors import Cursor, Lineage, Snapshot
from flowcraft.records import Batch, Limit, Record

AHEAD_LINKS = 1_000
AHEAD_BYTES = 8 * 1024 * 1024
"""Links that are ahead are kept until the gap is closed: one answer closes it. Of more, none is kept."""


@dataclass(frozen=True, slots=True)
class Link:
    """What a relay read after a cursor. Without records it confirms that there was nothing."""

    after: Cursor
    batch: Batch


class Taken(Enum):
    """What the chain did with a link."""

    CONTINUED = "continued"
    """The reader has something new: records, or a newer confirmation."""
    KNOWN = "known"
    """The chain had all of it."""
    AHEAD = "ahead"
    """Events before it are missing: unless they arrive, the reader has to ask."""
    IGNORED = "ignored"
    """Of an older lineage, or of another database."""


class Chain:
    """The position of one reader, and what follows it.

    The reader calls `begin` with each answer of a relay, and `read` to take what has arrived since. With more
    than `limit` the chain forgets what has arrived: the reader asks for it, and learns that it is too much.
    """

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._read: Batch | None = None
        """The position up to which the reader has read."""
        self._reached: Batch | None = None
        """The position up to which there is no gap."""
        self._arrived: list[Batch] = []
        self._arrived_events = self._arrived_bytes = 0
        self._ahead: deque[Link] = deque()
        self._ahead_bytes = 0
        self._gap = False
        self.newest: Lineage | None = None
        """The newest lineage that was seen; answers of an older one must be ignored, too."""

    @property
    def has_gap(self) -> bool:
        """Whether events are known to be missing."""
        return self._gap

    @property
    def has_news(self) -> bool:
        """Whether `read` returns something."""
        return bool(self._arrived)

    def is_outdated(self, lineage: Lineage) -> bool:
        """Return whether a lineage is older than the newest, or that of another database."""
        newest = self.newest
        return newest is not None and (not _is_same_database(lineage, newest) or lineage.rank < newest.rank)

    def begin(self, position: Batch) -> None:
        """Go on from an answer's position; what has arrived beyond it is kept."""
        self._note(position.cursor.lineage)
        reached = self._reached
        is_behind = (
            reached is not None
            and reached.cursor.lineage == position.cursor.lineage
            and not position.cursor.snapshot.contains(reached.cursor.snapshot)
        )
        start = replace(position, records=(), unreadable=(), oldest=None)
        if is_behind:
            arrived = [_beyond(batch, position.cursor.snapshot) for batch in self._arrived]
        else:
            arrived, self._reached = [], start
        self._forget_arrived()
        for batch in arrived:
            self._add(batch)
        self._read = start
        self._retake()

    def take(self, link: Link) -> Taken:
        """Take a link of any relay, in any order."""
        lineage = link.batch.cursor.lineage
        if self.is_outdated(lineage) or link.after.lineage != lineage:
            return Taken.IGNORED
        self._note(lineage)
        taken = self._continue(link)
        if taken is Taken.AHEAD:
            self._gap = True
            self._keep(link)
        elif taken is Taken.CONTINUED and self._ahead:
            self._retake()
        return taken

    def read(self, after: Cursor) -> Batch | None:
        """Return what follows a cursor if it has arrived without a gap; else the reader has to ask."""
        if self._read is None or self._read.cursor != after or not self._arrived:
            return None
        assert self._reached is not None
        arrived = self._forget_arrived()
        self._read = self._reached
        return _joined(arrived, self._reached)

    def _note(self, lineage: Lineage) -> None:
        if self.newest is None or lineage.rank > self.newest.rank:
            self.newest = lineage
            if self._reached is not None and self._reached.cursor.lineage != lineage:
                self._forget_arrived()  # it may be lost in the new history

    def _continue(self, link: Link) -> Taken:
        reached, batch = self._reached, link.batch
        if reached is None or reached.cursor.lineage != batch.cursor.lineage:
            return Taken.AHEAD
        here, there = reached.cursor.snapshot, batch.cursor.snapshot
        if not here.contains(link.after.snapshot):
            return Taken.AHEAD
        grows = not here.contains(there)
        if not grows and batch.at <= reached.at and reached.snapshot.contains(batch.snapshot):
            return Taken.KNOWN
        fresh = batch if link.after.snapshot == here else _beyond(batch, here)
        self._reached = Batch(
            (),
            batch.cursor if grows else reached.cursor,
            _larger(batch.snapshot, reached.snapshot),
            max(batch.at, reached.at),
        )
        self._add(fresh)
        if self._is_too_much():
            self._forget_arrived()
            self._reached, self._gap = self._read, True
        return Taken.CONTINUED

    def _add(self, batch: Batch) -> None:
        self._arrived.append(batch)
        self._arrived_events += len(batch.records)
        self._arrived_bytes += _size(batch)

    def _forget_arrived(self) -> list[Batch]:
        arrived, self._arrived = self._arrived, []
        self._arrived_events = self._arrived_bytes = 0
        return arrived

    def _is_too_much(self) -> bool:
        limit = self._limit
        return self._arrived_events > limit.events or self._arrived_bytes > (
            limit.bytes or self._arrived_bytes
        )

    def _retake(self) -> None:
        """Take the links that were ahead, oldest first, until none of them continues the chain."""
        self._gap = False
        waiting, self._ahead, self._ahead_bytes = self._ahead, deque(), 0
        progress = True
        while progress and waiting:
            progress = False
            for _ in range(len(waiting)):
                link = waiting.popleft()
                if self.is_outdated(link.batch.cursor.lineage):
                    continue
                if self._continue(link) is Taken.AHEAD:
                    waiting.append(link)
                else:
                    progress = True
        self._gap = self._gap or bool(waiting)
        for link in waiting:
            self._keep(link)

    def _keep(self, link: Link) -> None:
        size = _size(link.batch)
        if len(self._ahead) >= AHEAD_LINKS or self._ahead_bytes + size > AHEAD_BYTES:
            self._ahead.clear()
            self._ahead_bytes = 0
            return
        self._ahead.append(link)
        self._ahead_bytes += size


def _is_same_database(one: Lineage, other: Lineage) -> bool:
    return (one.system, one.database) == (other.system, other.database)


def _larger(one: Snapshot, other: Snapshot) -> Snapshot:
    return one if one.contains(other) else other


def _beyond(batch: Batch, known: Snapshot) -> Batch:
    """Return a batch without the transactions that a position covers."""
    return replace(
        batch,
        records=tuple([record for record in batch.records if not known.covers(record.xid)]),
        unreadable=tuple([event for event in batch.unreadable if not known.covers(event.xid)]),
        marks={xid: mark for xid, mark in batch.marks.items() if not known.covers(xid)},
    )


def _joined(batches: list[Batch], end: Batch) -> Batch:
    """Return several batches as one that ends at a position."""
    records: list[Record] = []
    marks: dict[int, int] = {}
    for batch in batches:
        records += batch.records
        marks.update(batch.marks)
    return Batch(
        tuple(records),
        end.cursor,
        end.snapshot,
        end.at,
        min([batch.oldest for batch in batches if batch.oldest is not None], default=None),
        tuple([event for batch in batches for event in batch.unreadable]),
        marks,
    )


def _size(batch: Batch) -> int:
    return sum([len(record.payload) for record in batch.records])
