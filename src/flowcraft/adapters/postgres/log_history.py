"""Log history: find out whether a database still has the commits that were read from it.

A crash may lose the last commits, and transactions that come later have the same ids: then no cursor is ahead
of the database, and only the events themselves differ.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

import asyncpg

from flowcraft.cursors import Cursor
from flowcraft.errors import CursorRewound
from flowcraft.records import Record

MOST_WITNESSES = 1_000
"""Of a larger batch the last events are looked up again: the transaction that committed last is among them,
unless it wrote its events long before."""


class ReadSince(Protocol):
    """Reads events of a transaction and later ones."""

    def __call__(
        self, xid: int, channels: list[str] | None = None, most: int | None = None
    ) -> Awaitable[tuple[Record, ...]]: ...


class Fetch(Protocol):
    """Runs a statement by its name."""

    def __call__(self, name: str, *arguments: object) -> Awaitable[list[asyncpg.Record]]: ...


class LogHistory:
    """What was read last is looked up after a reconnect, and what a cursor has seen whenever it is used."""

    def __init__(self, fetch: Fetch, read_since: ReadSince) -> None:
        self._fetch = fetch
        self._read_since = read_since
        self.is_in_doubt = False
        """Whether there is a new connection, and with it perhaps a database that has lost commits."""
        self.last: tuple[Record, ...] = ()
        """The last events that were read, at most `MOST_WITNESSES`; the log sets them."""
        self._purges: int = 0

    def doubt(self) -> None:
        """Have the history checked before the next batch is returned."""
        self.is_in_doubt = True

    async def begin(self, newest: int | None) -> None:
        """Begin at the end of the log, whose newest event is of a transaction, if it has one."""
        self.last = () if newest is None else await self._read_since(newest, most=1)
        self._purges = await self._count_purges()

    async def check(self, after: Cursor, floor: int) -> None:
        """Look for the events that were read last: other transactions may have their ids by now.

        Raises:
            CursorRewound: one of them is not there.
        """
        # One of each transaction: a crash loses the last commit, whichever it is.
        each = {record.xid: record for record in self.last if record.xid >= floor}
        if not each:
            return
        channels = sorted({record.channel for record in each.values()})
        present = set(await self._read_since(min(each), channels))
        purges = await self._count_purges()
        # By their content, too: other events may have the same ids.
        if not present.issuperset(each.values()) and purges == self._purges:
            raise CursorRewound(str(after))
        self.is_in_doubt, self._purges = False, purges

    async def check_proofs(self, after: Cursor) -> None:
        """Refuse a cursor that has seen an event which this log does not have, nor had and removed.

        Raises:
            CursorRewound: it has.
        """
        if not after.marks:
            return
        lost = await self._fetch("proofs", [str(xid) for xid, _ in after.marks])
        known = {row["xid"]: row for row in lost}
        missing = frozenset([seen for seen in after.marks if _is_missing(seen[1], known[seen[0]])])
        if missing:
            raise CursorRewound(str(after), missing)

    async def _count_purges(self) -> int:
        ((count,),) = await self._fetch("purges")
        return int(count)


def _is_missing(mark: int, known: asyncpg.Record) -> bool:
    """Return whether a log that could have an event has none, or another one."""
    if known["mark"] is not None:
        return bool(known["mark"] != mark)
    return not known["runs"] and known["xid"] >= known["floor"]
