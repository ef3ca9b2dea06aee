"""Cursors: positions in the log, each of which is a snapshot of PostgreSQL and not a number."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from flowcraft.errors import CursorMalformed

ResetReason = Literal["expired", "rewound", "other_database", "malformed", "unreadable"]

# By hand, not by `int` after `split`: `int` accepts signs, spaces, underscores and digits of other scripts.
_SNAPSHOT = re.compile(r"(\d{1,20}):(\d{1,20}):((?:\d{1,20}(?:,\d{1,20})*)?)", re.ASCII)
_CURSOR = re.compile(r"(\d{1,20})/(\d{1,10})\.(\d{1,10})/(\d{1,20}):((?:\d{1,20}(?:,\d{1,20})*)?)", re.ASCII)
_LONGEST_CURSOR = 64 * 1024
"""Longer than the cursor of a server with 3,000 running transactions; a parser needs a bound."""
LARGEST_XID = 2**63 - 1
"""The largest bigint, as which our SQL functions take ids. xid8 is unsigned and has twice as many."""
_LARGEST_SYSTEM, _LARGEST_INTEGER = 2**63 - 1, 2**31 - 1
"""The largest bigint and integer, which are the column types of a lineage."""
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
        """Return whether a transaction had ended in this snapshot."""
        return xid < self.xmax and xid not in self.xip

    def contains(self, other: Snapshot) -> bool:
        """Return whether all transactions visible in another snapshot of this primary are visible in this."""
        return self.xmax >= other.xmax and all(xid in other.xip for xid in self.xip if xid < other.xmax)

    def meet(self, other: Snapshot) -> Snapshot:
        """Return the greatest snapshot that both contain."""
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
        """Parse a cursor of a client; each of its numbers fits the type of its SQL parameter.

        Raises:
            CursorMalformed: the text is not a cursor in its one spelling.
        """
        match = _CURSOR.fullmatch(text) if len(text) <= _LONGEST_CURSOR else None
        if match is None:
            raise CursorMalformed(text)
        cursor = cls(
            Lineage(int(match[1]), int(match[2]), int(match[3])), Snapshot(int(match[4]), _xids(match[5]))
        )
        # One spelling for each cursor: no leading zeros, xip in order and each once.
        if not cursor._is_possible() or str(cursor) != text:
            raise CursorMalformed(text)
        return cursor

    def __str__(self) -> str:
        return f"{self.lineage}/{self.snapshot.xmax}:{','.join(map(str, sorted(self.snapshot.xip)))}"

    def _is_possible(self) -> bool:
        """Return whether PostgreSQL can have each of its numbers."""
        lineage, snapshot = self.lineage, self.snapshot
        return (
            lineage.system <= _LARGEST_SYSTEM
            and 1 <= lineage.timeline <= _LARGEST_INTEGER
            and lineage.generation < _LARGEST_INTEGER  # the next one is an integer too
            and snapshot.xmin >= 1
            and max(snapshot.xip, default=0) < snapshot.xmax <= LARGEST_XID
        )

    def covers(self, xid: int) -> bool:
        """Return whether the events of a transaction lie before this position."""
        return self.snapshot.covers(xid)

    def advance(self, now: Snapshot, newest: int | None) -> Cursor:
        """Return the cursor after a read at snapshot `now` whose newest event was written by `newest`."""
        xmax = self.snapshot.xmax if newest is None else max(self.snapshot.xmax, newest + 1)
        return Cursor(self.lineage, now.clamp(xmax))


def parse_xid(text: str) -> int | None:
    """Parse a transaction id in decimal without leading zeros; None if the text is anything else."""
    xid = int(text) if _XID.fullmatch(text) else None
    return None if xid is None or xid > LARGEST_XID else xid


def _xids(text: str) -> frozenset[int]:
    return frozenset(map(int, text.split(","))) if text else frozenset()
