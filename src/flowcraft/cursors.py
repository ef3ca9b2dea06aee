"""Cursors: where a reader stands in the log, which is a snapshot of PostgreSQL and not a number."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from flowcraft.errors import CursorMalformed

ResetReason = Literal["expired", "rewound", "other_database", "malformed", "unreadable"]

_SNAPSHOT = re.compile(r"(\d{1,20}):(\d{1,20}):((?:\d{1,20}(?:,\d{1,20})*)?)", re.ASCII)
_CURSOR = re.compile(r"(\d{1,20})/(\d{1,10})\.(\d{1,10})/(\d{1,20}):((?:\d{1,20}(?:,\d{1,20})*)?)", re.ASCII)
_LONGEST_CURSOR = 64 * 1024
LARGEST_XID = 2**63 - 1
"""xid8 has twice as many; our functions count with bigint, and no server lives to see the other half."""
_LARGEST_SYSTEM, _LARGEST_INTEGER = 2**63 - 1, 2**31 - 1
_XID = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Which transactions are visible: all below `xmax` that are not in `xip` (pg_snapshot, PostgreSQL 9.28).

    A snapshot read from the database is plain; the one inside a cursor is *clamped*: its `xmax` is one
    above the newest transaction that wrote an event. A crash may issue transaction ids again that were
    never used by an event, and a clamped snapshot does not claim to have seen those.
    """

    xmax: int
    xip: frozenset[int] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """Read PostgreSQL's own text form, `xmin:xmax:xip,xip`."""
        match = _SNAPSHOT.fullmatch(text)
        if match is None:
            raise ValueError(f"{text[:64]!r} is not a snapshot of the form xmin:xmax:xip")
        return cls(int(match[2]), _xids(match[3]))

    @property
    def xmin(self) -> int:
        """The oldest transaction that is not visible."""
        return min(self.xip, default=self.xmax)

    def covers(self, xid: int) -> bool:
        """Tell whether the outcome of a transaction is settled within this snapshot."""
        return xid < self.xmax and xid not in self.xip

    def contains(self, other: Snapshot) -> bool:
        """Tell whether all that is visible in another snapshot of the same primary is visible in this one."""
        return self.xmax >= other.xmax and all(xid in other.xip for xid in self.xip if xid < other.xmax)

    def meet(self, other: Snapshot) -> Snapshot:
        """Return what is visible in both: the greatest snapshot that both contain."""
        xmax = min(self.xmax, other.xmax)
        return Snapshot(xmax, frozenset(xid for xid in self.xip | other.xip if xid < xmax))

    def clamp(self, xmax: int) -> Snapshot:
        """Return the part of this snapshot below `xmax`. It never covers more than this snapshot does."""
        return Snapshot(min(xmax, self.xmax), frozenset(xid for xid in self.xip if xid < xmax))


@dataclass(frozen=True, slots=True)
class Lineage:
    """The history that transaction ids belong to: one database, one timeline, one generation.

    `generation` counts the times this database was found behind what it had delivered.
    """

    system: int
    timeline: int
    generation: int

    def __str__(self) -> str:
        return f"{self.system}/{self.timeline}.{self.generation}"


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in the log of one lineage. Its text is opaque to clients."""

    lineage: Lineage
    snapshot: Snapshot

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read a cursor that a client sent back: what it returns can be bound to every statement.

        Raises:
            CursorMalformed: it is not one of ours.
        """
        match = _CURSOR.fullmatch(text) if len(text) <= _LONGEST_CURSOR else None
        if match is None:
            raise CursorMalformed(text)
        cursor = cls(
            Lineage(int(match[1]), int(match[2]), int(match[3])), Snapshot(int(match[4]), _xids(match[5]))
        )
        # One spelling each: no leading zeros, xip in order and each once.
        if not cursor._is_possible() or str(cursor) != text:
            raise CursorMalformed(text)
        return cursor

    def __str__(self) -> str:
        return f"{self.lineage}/{self.snapshot.xmax}:{','.join(map(str, sorted(self.snapshot.xip)))}"

    def _is_possible(self) -> bool:
        """Whether PostgreSQL can have every number in it."""
        lineage, seen = self.lineage, self.snapshot
        return (
            lineage.system <= _LARGEST_SYSTEM
            and 1 <= lineage.timeline <= _LARGEST_INTEGER
            and lineage.generation < _LARGEST_INTEGER  # the next one is an integer too
            and seen.xmin >= 1
            and max(seen.xip, default=0) < seen.xmax <= LARGEST_XID
        )

    def covers(self, xid: int) -> bool:
        """Tell whether the events of a transaction lie before this position."""
        return self.snapshot.covers(xid)

    def advance(self, now: Snapshot, newest: int | None) -> Cursor:
        """Return the cursor after a read at snapshot `now` whose newest event was written by `newest`."""
        xmax = self.snapshot.xmax if newest is None else max(self.snapshot.xmax, newest + 1)
        return Cursor(self.lineage, now.clamp(xmax))


def parse_xid(text: str) -> int | None:
    """Read a transaction id in its one spelling, in decimal; None if the text is none that can be."""
    xid = int(text) if _XID.fullmatch(text) else None
    return None if xid is None or xid > LARGEST_XID else xid


def _xids(text: str) -> frozenset[int]:
    return frozenset(map(int, text.split(","))) if text else frozenset()
