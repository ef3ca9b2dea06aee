"""The log in PostgreSQL: what became visible between two snapshots, read in one statement."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import asyncpg
import msgspec

from flowcraft.adapters.postgres.connections import ANSWER_SECONDS
from flowcraft.adapters.postgres.log_rows import marks, oldest, records
from flowcraft.adapters.postgres.pool import OwnPool, unavailable
from flowcraft.adapters.postgres.statements import REMOVED, statement
from flowcraft.adapters.postgres.unusual_rows import UNDECODABLE, Texts, decode
from flowcraft.cursors import Cursor, Lineage, Snapshot, marked
from flowcraft.errors import CursorExpired, CursorOfOtherDatabase, CursorRewound
from flowcraft.records import Batch, Limit, Record, Unreadable

if TYPE_CHECKING:
    from flowcraft.adapters.postgres.connections import AnyConnection, Pool


class _Position(msgspec.Struct, frozen=True):
    """Where the log begins and ends in the snapshot of one statement, and what there is after a cursor."""

    system: int
    database: int
    timeline: int
    generation: int
    floor: int
    newest: int | None
    mark: int | None
    at: datetime
    events: int = 0
    bytes: int = 0

    @property
    def lineage(self) -> Lineage:
        return Lineage(self.system, self.timeline, self.generation, self.database)

    def after(self, cursor: Cursor, now: Snapshot) -> Cursor:
        """Return the cursor after a read from another one at the snapshot `now`."""
        return cursor.advance(now, self.newest, self.mark or 0)


TAIL_SECONDS = 5.0
"""A relay takes a database for gone that sends nothing of a tail for this long: all subscribers wait."""
PAGE_EVENTS = 1_000
PAGE_BYTES = 256 * 1024
"""A read with more is not sent whole, but in pages: a line of 60 KB/s carries one in time."""
_QUICK_SECONDS, _QUICK_PAGE_BYTES = 0.05, 1024 * 1024
"""After a page that came within this time, the next may have so many bytes."""
_FIRST_ROWS = 16
"""Of the first page: at 256 KiB an event 4 MiB. Later ones have more or fewer, by the size of the last."""
_MOST_WITNESSES = 1_000
"""Of a larger batch the last events are looked up again: the transaction that committed last is among them,
unless it wrote its events long before."""
_decode_position = msgspec.json.Decoder(_Position).decode


class PostgresLog:
    """Reads the log of one database, and its present position. It writes no events.

    It takes a pool, which stays the caller's, or a dsn, for which it opens its own; `close` closes that. With
    its own it finds out when the server lost commits and has used their ids again since, even for so many
    that no cursor is ahead of it any more: after each new connection it looks for the last events returned.
    `on_tail` is called with each batch that `tail` returns, and with none that `replay` or `position` does.
    """

    def __init__(self, database: str | Pool, *, on_tail: Callable[[Batch], None] | None = None) -> None:
        self._on_tail = on_tail
        self._pool = OwnPool(database, connected=self._doubt_history)
        self._witnesses: tuple[Record, ...] = ()
        """One event of each transaction of the last batch: a crash loses the last commit, whichever it is."""
        self._history_in_doubt = False
        self._purges: int = 0
        self._encoding = "UTF8"

    async def position(self) -> Batch:
        reached, now = await self._fetch_position()
        self._witnesses = await self._last_event(reached)
        self._purges = await self._count_purges()
        beginning = now.clamp(max(reached.floor, 0 if reached.newest is None else reached.newest + 1))
        cursor = Cursor(reached.lineage, beginning, marked(beginning.xmax - 1, reached.mark or 0))
        return Batch((), cursor, now, reached.at.astimezone(UTC))

    async def tail(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        found = await self._changes(after, None, limit, timeout=TAIL_SECONDS)
        reached, now = _usable_position(found.head, after)
        # Before the limit: a history that was lost is `rewound`, however long what follows is.
        await self._check_history(after, reached.floor)
        if _exceeds(reached, limit):
            raise CursorExpired(str(after))
        readable, invalid = records(found.rows)
        self._witnesses = _one_of_each_transaction(readable[-_MOST_WITNESSES:]) or self._witnesses
        batch = Batch(
            readable,
            reached.after(after, now),
            now,
            reached.at.astimezone(UTC),
            oldest(found.rows),
            (*found.undecodable, *invalid),
            marks=marks(found.rows),
        )
        if self._on_tail is not None:
            self._on_tail(batch)
        return batch

    async def replay(self, after: Cursor, channels: Sequence[str], *, limit: Limit | None = None) -> Batch:
        found = await self._changes(after, [*channels], limit, timeout=ANSWER_SECONDS)
        reached, now = _usable_position(found.head, after)
        await self._check_proofs(after)
        if _exceeds(reached, limit):
            raise CursorExpired(str(after))
        readable, invalid = records(found.rows)
        unreadable = (*found.undecodable, *invalid)
        return Batch(
            readable, reached.after(after, now), now, reached.at.astimezone(UTC), unreadable=unreadable
        )

    async def rewound(self, last: Cursor) -> Batch:
        reached, _ = await self._fetch_position()
        if reached.timeline == last.lineage.timeline:
            await self._fetch("renew", last.lineage.generation)
        return await self.position()

    async def trim(self, *, before: int) -> int:
        """Remove the events of transactions below `before`, as far as these have finished; return how many.

        Raises:
            LogUnavailable: it cannot be written now.
        """
        ((removed,),) = await self._fetch("trim", str(before))
        return int(removed)

    async def close(self) -> None:
        """Close the connections that the log opened itself."""
        await self._pool.close()

    async def _fetch_position(self) -> tuple[_Position, Snapshot]:
        (row,) = await self._fetch("position")
        return msgspec.convert(dict(row), _Position), Snapshot.parse(row["snapshot"])

    async def _last_event(self, reached: _Position) -> tuple[Record, ...]:
        """Return an event of the log, by which its history is recognised after a reconnect."""
        if reached.newest is None:
            return ()
        return await self._since(reached.newest, most=1)

    def _doubt_history(self) -> None:
        self._history_in_doubt = True

    async def _check_history(self, after: Cursor, floor: int) -> None:
        """After a reconnect: a crash may have lost commits, and other transactions have their ids by now."""
        if not self._history_in_doubt:
            return
        witnesses = [record for record in self._witnesses if record.xid >= floor]
        if not witnesses:
            return
        oldest = min(record.xid for record in witnesses)
        channels = sorted({record.channel for record in witnesses})
        present = set(await self._since(oldest, channels))
        purges = await self._count_purges()
        # By their content, too: other events may have the same ids.
        if not present.issuperset(witnesses) and purges == self._purges:
            raise CursorRewound(str(after))
        self._history_in_doubt, self._purges = False, purges

    async def _since(
        self, xid: int, channels: list[str] | None = None, most: int | None = None
    ) -> tuple[Record, ...]:
        """Return events of a transaction and later ones."""
        query = ((str(xid),), (None,), channels, most)
        async with self._connection() as connection:
            try:
                return records(await connection.fetch(statement("read_page"), *query))[0]
            except UNDECODABLE:
                rows = await connection.fetch(statement("read_page_bytes"), *query)
        return records(decode(rows, self._encoding)[0])[0]

    async def _count_purges(self) -> int:
        ((count,),) = await self._fetch("purges")
        return int(count)

    async def _check_proofs(self, after: Cursor) -> None:
        """Refuse a cursor that has seen an event which this log does not have, nor had and removed."""
        if not after.marks:
            return
        lost = await self._fetch("proofs", [str(xid) for xid, _ in after.marks])
        known = {row["xid"]: row for row in lost}
        missing = frozenset([seen for seen in after.marks if _is_missing(seen[1], known[seen[0]])])
        if missing:
            raise CursorRewound(str(after), missing)

    async def _changes(
        self, after: Cursor, channels: list[str] | None, limit: Limit | None, *, timeout: float
    ) -> _Found:
        """Read what is new after a cursor: at once if it is small, else in pages of one snapshot."""
        ranges = [*after.snapshot.running.ranges, (after.snapshot.xmax, None)]
        firsts = tuple([str(first) for first, _ in ranges])
        lasts = tuple([None if last is None else str(last) for _, last in ranges])
        query = _Query(str(after.lineage), firsts, lasts, channels)
        try:
            async with self._connection() as connection:
                rows, undecodable = await self._read(connection, query, PAGE_EVENTS + 1, PAGE_BYTES, timeout)
            head, *rows = rows
            if rows or undecodable or not _decode_position(head[3]).events:
                return _Found(head, rows, undecodable)
            try:
                return await self._pages(query, limit, timeout, binary=False)
            except UNDECODABLE:
                return await self._pages(query, limit, timeout, binary=True)
        except asyncpg.PostgresError as error:
            if error.sqlstate != REMOVED:
                raise
            raise CursorExpired(str(after)) from None

    async def _pages(self, query: _Query, limit: Limit | None, timeout: float, *, binary: bool) -> _Found:
        """Read all pages in one snapshot, no row beyond a limit; the time limit is that of each page."""
        name = "read_page_bytes" if binary else "read_page"
        async with self._connection(own=True) as connection:
            most = None if limit is None else limit.events + 1
            head: asyncpg.Record | Texts
            if await connection.fetchval(statement("may_measure")):
                (head,) = await connection.fetch(statement("measure"), *query, most, timeout=timeout)
            else:
                (head,), _ = await self._read(connection, query, most, 0, timeout)
            if _exceeds(_decode_position(head[3]), limit):
                return _Found(head, (), ())
            pages = await connection.cursor(statement(name), *query[1:], None, timeout=timeout)
            rows: list[tuple[Any, ...]] = []
            count, began = _FIRST_ROWS, time.monotonic()
            while page := await pages.fetch(count, timeout=timeout):
                # Of tuples of texts and numbers the garbage collector lets go: a tenth of a long read.
                rows += map(tuple, page)
                now = time.monotonic()
                quick, began = now - began < _QUICK_SECONDS, now
                size, most_bytes = (
                    sum([len(row["payload"]) for row in page]),
                    _QUICK_PAGE_BYTES if quick else PAGE_BYTES,
                )
                count = (
                    2 * count if 2 * size < most_bytes else max(1, count // 2) if size > most_bytes else count
                )
            rows.sort(key=itemgetter(0))
            if not binary:
                return _Found(head, rows, ())
            return _Found(head, *decode(rows, self._encoding))

    async def _read(
        self,
        connection: AnyConnection,
        query: _Query,
        most: int | None,
        most_bytes: int | None,
        timeout: float,
    ) -> tuple[Sequence[asyncpg.Record | Texts], Sequence[Unreadable]]:
        """Return the rows of `read` that decode, and the others as `Unreadable`."""
        arguments = (*query, most, most_bytes)
        try:
            return await connection.fetch(statement("read"), *arguments, timeout=timeout), ()
        except UNDECODABLE:
            rows = await connection.fetch(statement("read_bytes"), *arguments, timeout=timeout)
            return decode(rows, self._encoding)

    async def _fetch(self, name: str, *arguments: object) -> list[asyncpg.Record]:
        async with self._connection() as connection:
            return await connection.fetch(statement(name), *arguments)

    @asynccontextmanager
    async def _connection(self, *, own: bool = False) -> AsyncIterator[AnyConnection]:
        """Lend a connection, with `own` in a transaction that has one snapshot."""
        with unavailable():
            async with self._pool.connection(snapshot=own) as connection:
                self._encoding = str(connection.get_settings().server_encoding)
                yield connection


class _Query(NamedTuple):
    """What `read` looks for: a lineage, ranges of transactions of which the last has no end, and channels."""

    lineage: str
    firsts: Sequence[str]
    lasts: Sequence[str | None]
    channels: Sequence[str] | None


class _Found(NamedTuple):
    """The first row of `read`, the other rows, and those that do not decode."""

    head: asyncpg.Record | Texts
    rows: Sequence[asyncpg.Record | tuple[Any, ...]]
    undecodable: Sequence[Unreadable]


def _one_of_each_transaction(records: Iterable[Record]) -> tuple[Record, ...]:
    return tuple({record.xid: record for record in records}.values())


def _is_missing(mark: int, known: asyncpg.Record) -> bool:
    """Return whether a log that could have an event has none, or another one."""
    if known["mark"] is not None:
        return bool(known["mark"] != mark)
    return not known["runs"] and known["xid"] >= known["floor"]


def _exceeds(found: _Position, limit: Limit | None) -> bool:
    if limit is None:
        return False
    return found.events > limit.events or (limit.bytes is not None and found.bytes > limit.bytes)


def _usable_position(head: asyncpg.Record | Texts, after: Cursor) -> tuple[_Position, Snapshot]:
    """Read the position from the first row, and refuse a cursor that cannot be continued from there."""
    now, reached = Snapshot.parse(head[2]), _decode_position(head[3])
    if (after.lineage.system, after.lineage.database) != (reached.system, reached.database):
        raise CursorOfOtherDatabase(str(after))
    if after.lineage != reached.lineage or after.snapshot.xmax > now.xmax:
        raise CursorRewound(str(after))
    if after.snapshot.xmin < reached.floor:
        raise CursorExpired(str(after), reached.floor)
    return reached, now
