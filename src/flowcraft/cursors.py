"""Cursors: positions in the log, each of which is a snapshot of PostgreSQL and not a number."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Literal

from flowcraft.errors import CursorExpired, CursorMalformed
from flowcraft.xids import LARGEST_XID, NO_XIDS, Xids

ResetReason = Literal["expired", "rewound", "other_database", "malformed", "unreadable"]

# By hand, not by `int` after `split`: `int` accepts signs, spaces, underscores and digits of other scripts.
_SNAPSHOT = re.compile(r"(\d{1,20}):(\d{1,20}):((?:\d{1,20}(?:,\d{1,20})*)?)", re.ASCII)
_RANGES = r"(?:\d{1,20}(?:-\d{1,20})?(?:,\d{1,20}(?:-\d{1,20})?)*)?"
_CURSOR = re.compile(
    rf"(\d{{1,20}})(?:\.(\d{{1,20}}))?/(\d{{1,10}})\.(\d{{1,10}})/(\d{{1,20}}):({_RANGES}|\*)(?:/(\d{{1,20}}))?",
    re.ASCII,
)
LONGEST_CURSOR = 4096
"""A cursor must fit into a message, a URL and a header. Some 400 ranges of transactions do; see `Cursor`."""
_LARGEST_SYSTEM, _LARGEST_INTEGER, _LARGEST_OID = 2**63 - 1, 2**31 - 1, 2**32 - 1
"""The largest bigint, integer and oid, which are the column types of a lineage."""
_MARKS = 2**40
"""A mark is below it: 12 digits in a cursor. Two histories agree in one by chance once in 10^12."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Which transactions are visible: all below `xmax` that are not in `xip` (pg_snapshot, PostgreSQL 9.28).

    A snapshot read from the database is plain; the one inside a cursor is *clamped*: its `xmax` is one
    above the newest transaction that wrote an event. A crash may issue transaction ids again that were
    never used by an event, and a clamped snapshot does not claim to have seen those.
    """

    xmax: int
    xip: AbstractSet[int] = NO_XIDS

    running: Xids = field(init=False, repr=False, compare=False)
    """`xip` as ranges."""

    def __post_init__(self) -> None:
        running = self.xip if isinstance(self.xip, Xids) else Xids.of(self.xip)
        object.__setattr__(self, "xip", running)
        object.__setattr__(self, "running", running)

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """Read PostgreSQL's own text form, `xmin:xmax:xip,xip`."""
        match = _SNAPSHOT.fullmatch(text)
        if match is None:
            raise ValueError(f"{text[:64]!r} is not a snapshot of the form xmin:xmax:xip")
        return cls(int(match[2]), Xids.of(map(int, match[3].split(","))) if match[3] else NO_XIDS)

    @property
    def xmin(self) -> int:
        """The oldest transaction that is not visible."""
        ranges = self.running.ranges
        return ranges[0][0] if ranges else self.xmax

    def covers(self, xid: int) -> bool:
        """Return whether a transaction had ended in this snapshot."""
        # Once an event and subscriber: mostly nothing runs, and then no set is searched; nor in `clamp`.
        return xid < self.xmax and (not self.running.ranges or xid not in self.running)

    def contains(self, other: Snapshot) -> bool:
        """Return whether all transactions visible in another snapshot of this primary are visible in this."""
        return self.xmax >= other.xmax and self.running.below(other.xmax).is_within(other.running)

    def meet(self, other: Snapshot) -> Snapshot:
        """Return the greatest snapshot that both contain."""
        xmax = min(self.xmax, other.xmax)
        return Snapshot(xmax, self.running.union(other.running).below(xmax))

    def clamp(self, xmax: int) -> Snapshot:
        """Return the part of this snapshot below `xmax`. It never covers more than this snapshot does."""
        running = self.running
        return Snapshot(min(xmax, self.xmax), running.below(xmax) if running.ranges else running)


@dataclass(frozen=True, slots=True)
class Lineage:
    """The history that transaction ids belong to: one database of one system, one timeline, one generation.

    `generation` counts the times this database was found behind what it had delivered. `database` is its oid,
    as one system may have copies of one (`create database … template`); 0 for a log that has none.
    """

    system: int
    timeline: int
    generation: int
    database: int = 0

    @property
    def rank(self) -> tuple[int, int]:
        """Its place among the lineages of its database: a newer one has a greater one."""
        return self.timeline, self.generation

    def __str__(self) -> str:
        database = f".{self.database}" if self.database else ""
        return f"{self.system}{database}/{self.timeline}.{self.generation}"


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in the log of one lineage. Its text is opaque to clients, and never long.

    A position beside so many running transactions that its text would be too long is written as one that
    cannot be continued: it is answered with a `reset` (`expired`).
    """

    lineage: Lineage
    snapshot: Snapshot
    marks: frozenset[tuple[int, int]] = frozenset()
    """Events that this position has seen, by which a log proves that it has them: transaction and mark.

    The text has that of the newest transaction. See `mark_of`.
    """
    _text: str | None = field(default=None, init=False, repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Parse a cursor of a client; each of its numbers fits the type of its SQL parameter.

        Raises:
            CursorMalformed: the text is not a cursor in its one spelling.
            CursorExpired: it was issued beside too many running transactions.
        """
        match = _CURSOR.fullmatch(text) if len(text) <= LONGEST_CURSOR else None
        if match is None:
            raise CursorMalformed(text)
        system, database, timeline, generation, xmax, running, mark = match.groups("0")
        if running == "*":
            raise CursorExpired(text)
        cursor = cls(
            Lineage(int(system), int(timeline), int(generation), int(database)),
            Snapshot(int(xmax), Xids.parse(running)),
            frozenset([(int(xmax) - 1, int(mark))]) if int(mark) else frozenset(),
        )
        # One spelling for each cursor: no leading zeros, ranges in order and apart.
        if not cursor._is_possible() or str(cursor) != text:
            raise CursorMalformed(text)
        return cursor

    def __str__(self) -> str:
        if self._text is None:  # made once: each client that connects is sent the position twice
            object.__setattr__(self, "_text", self._written())
        return str(self._text)

    def _written(self) -> str:
        newest, running = self.snapshot.xmax - 1, self.snapshot.running
        ranges = str(running) if running.ranges else ""
        marks = "".join([f"/{mark}" for xid, mark in self.marks if xid == newest])
        text = f"{self.lineage}/{self.snapshot.xmax}:{ranges}{marks}"
        return text if len(text) <= LONGEST_CURSOR else f"{self.lineage}/{self.snapshot.xmax}:*"

    def _is_possible(self) -> bool:
        """Return whether PostgreSQL can have each of its numbers."""
        lineage, snapshot = self.lineage, self.snapshot
        last = snapshot.running.ranges[-1][1] if snapshot.running else 0
        return (
            lineage.system <= _LARGEST_SYSTEM
            and lineage.database <= _LARGEST_OID
            and 1 <= lineage.timeline <= _LARGEST_INTEGER
            and lineage.generation < _LARGEST_INTEGER  # the next one is an integer too
            and snapshot.running.is_possible()
            and snapshot.xmin >= 1
            and last < snapshot.xmax <= LARGEST_XID
            and all(mark < _MARKS for _, mark in self.marks)
        )

    def covers(self, xid: int) -> bool:
        """Return whether the events of a transaction lie before this position."""
        return self.snapshot.covers(xid)

    def meet(self, other: Cursor) -> Cursor:
        """Return the greatest position of this lineage that both contain, with what both have seen."""
        return Cursor(self.lineage, self.snapshot.meet(other.snapshot), self.marks | other.marks)

    def advance(self, now: Snapshot, newest: int | None, mark: int = 0) -> Cursor:
        """Return the cursor after a read at snapshot `now` whose newest event was written by `newest`."""
        if newest is None or newest + 1 < self.snapshot.xmax:
            return Cursor(self.lineage, now.clamp(self.snapshot.xmax), self.marks)
        return Cursor(self.lineage, now.clamp(newest + 1), marked(newest, mark))


def marked(xid: int, mark: int) -> frozenset[tuple[int, int]]:
    """Return the marks of a cursor whose newest event is of a transaction; with mark 0 it has none."""
    return frozenset([(xid, mark)]) if mark else frozenset()


def mark_of(id_: int, microseconds: int) -> int:
    """Return the mark of an event by its id and the time at which it was broadcast.

    A history that was put back issues transaction ids again, and ids of events, but not moments.
    `flowcraft.mark` in PostgreSQL calculates the same.
    """
    return (microseconds + 1_000_003 * id_) % (_MARKS - 1) + 1
