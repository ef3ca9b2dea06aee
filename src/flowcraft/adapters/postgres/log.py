"""The log in PostgreSQL: what became visible between two snapshots, read in one statement."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import asyncpg
import msgspec

from flowcraft.adapters.postgres.connections import ANSWER_SECONDS
from flowcraft.adapters.postgres.log_history import MOST_WITNESSES, LogHistory
from flowcraft.adapters.postgres.log_pages import PAGE_BYTES, PAGE_EVENTS, fetch_pages
from flowcraft.adapters.postgres.pool import OwnPool, unavailable
from flowcraft.adapters.postgres.statements import REMOVED, statement
from flowcraft.adapters.postgres.unusual_rows import UNDECODABLE, Texts, decode, is_json_nevertheless
from flowcraft.cursors import Cursor, Lineage, Snapshot, mark_of, marked
from flowcraft.errors import CursorExpired, CursorOfOtherDatabase, CursorRewound
from flowcraft.records import Batch, Kind, Limit, Record, Unreadable

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
_decode_position = msgspec.json.Decoder(_Position).decode
_KINDS, _SKIPPED = {kind.value.encode(): kind for kind in Kind}, Kind.SKIPPED
_EPOCH, _POSTGRES_EPOCH = datetime(1970, 1, 1, tzinfo=UTC), 946_684_800_000_000
_validate = msgspec.json.Decoder(msgspec.Raw).decode


class PostgresLog:
    """Reads the log of one database, and its present position. It writes no events.

    It takes a pool, which stays the caller's, or a dsn, for which it opens its own; `close` closes that. With
    its own it finds out when the server lost commits and has used their ids again since, even for so many
    that no cursor is ahead of it any more: after each new connection it looks for the last events returned.
    `on_tail` is called with each batch that `tail` returns, and with none that `replay` or `position` does.
    """

    def __init__(self, database: str | Pool, *, on_tail: Callable[[Batch], None] | None = None) -> None:
        self._on_tail = on_tail
        self._history = LogHistory(self._fetch, self._since)
        self._pool = OwnPool(database, connected=self._history.doubt)
        self._encoding = "UTF8"

    async def position(self) -> Batch:
        reached, now = await self._fetch_position()
        await self._history.begin(reached.newest)
        beginning = now.clamp(max(reached.floor, 0 if reached.newest is None else reached.newest + 1))
        cursor = Cursor(reached.lineage, beginning, marked(beginning.xmax - 1, reached.mark or 0))
        return Batch((), cursor, now, reached.at.astimezone(UTC))

    async def tail(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        found = await self._changes(after, None, limit, timeout=TAIL_SECONDS)
        reached, now = _usable_position(found.head, after)
        # Before the limit: a history that was lost is `rewound`, however long what follows is.
        if self._history.is_in_doubt:
            await self._history.check(after, reached.floor)
        if _exceeds(reached, limit):
            raise CursorExpired(str(after))
        readable, invalid = records(found.rows)
        if readable:
            self._history.last = readable[-MOST_WITNESSES:]
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
        await self._history.check_proofs(after)
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
            rows = await fetch_pages(pages, timeout)
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


def records(rows: Iterable[Any]) -> tuple[tuple[Record, ...], list[Unreadable]]:
    """Return the records of rows, and as `Unreadable` those whose payload, not JSON, would break a frame."""
    found: list[Record] = []
    unreadable: list[Unreadable] = []
    validate, kind_of = _validate, _KINDS.get
    for id_, xid, channel, payload, trace, _, kind in rows:
        # 0.1 µs for a small payload, 4 µs for 10 KB; once an event, not once a subscriber.
        try:
            validate(payload)
        except (msgspec.DecodeError, RecursionError):
            if not is_json_nevertheless(payload):
                unreadable.append(Unreadable(xid, id_, channel, "its payload is not JSON"))
                continue
        found.append(Record(xid, id_, channel, payload, trace or None, kind_of(kind, _SKIPPED)))
    return tuple(found), unreadable


def oldest(rows: Iterable[Any]) -> datetime | None:
    """Return when the first of these events was broadcast; None if none of them has a time."""
    # As PostgreSQL sends times, numbers from the most significant byte on: they compare like the bytes.
    first = min([row[5] for row in rows if row[5]], default=None)
    return None if first is None else _EPOCH + timedelta(microseconds=_microseconds(first))


def marks(rows: Iterable[Any]) -> dict[int, int]:
    """Return the mark of the first event of each transaction, `mark_of`; the rows ascend."""
    found: dict[int, int] = {}
    for row in rows:
        xid = row[1]
        if xid not in found:
            found[xid] = mark_of(row[0], 0 if row[5] is None else _microseconds(row[5]))
    return found


def _microseconds(sent: bytes) -> int:
    """Return a time since 1970: PostgreSQL counts from 2000. No event is from before."""
    return int.from_bytes(sent, "big") + _POSTGRES_EPOCH
