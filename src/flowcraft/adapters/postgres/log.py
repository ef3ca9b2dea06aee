"""The log in PostgreSQL: what became visible between two snapshots, read in one statement."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import asyncpg
import msgspec

from flowcraft.adapters.postgres.pool import OwnPool, unavailable
from flowcraft.adapters.postgres.rows import UNDECODABLE, Texts, decode, records
from flowcraft.adapters.postgres.statements import REMOVED, statement
from flowcraft.cursors import Cursor, Lineage, Snapshot
from flowcraft.errors import CursorExpired, CursorOfOtherDatabase, CursorRewound
from flowcraft.records import Batch, Limit, Record, Unreadable

if TYPE_CHECKING:
    from flowcraft.adapters.postgres.connections import Pool


class _Position(msgspec.Struct, frozen=True):
    """Where the log begins and ends in the snapshot of one statement."""

    system: int
    timeline: int
    generation: int
    floor: int
    newest: int | None
    at: datetime

    @property
    def lineage(self) -> Lineage:
        return Lineage(self.system, self.timeline, self.generation)


TAIL_SECONDS = 5.0
"""A relay takes a database that does not answer for this long for gone."""
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
        beginning = max(reached.floor, 0 if reached.newest is None else reached.newest + 1)
        return Batch((), Cursor(reached.lineage, now.clamp(beginning)), now, reached.at.astimezone(UTC))

    async def tail(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        most = None if limit is None else limit.events + 1
        # All subscribers wait for a tail, one for a replay: a tail has 5 s, a replay the connection's 30 s.
        (head, *rows), undecodable = await self._difference("read", after, None, most, timeout=TAIL_SECONDS)
        reached, now = _usable_position(head, after)
        # Before the limit: a history that was lost is `rewound`, however long what follows is.
        await self._check_history(after, reached.floor)
        if limit is not None and len(rows) > limit.events:
            raise CursorExpired(str(after))
        found, invalid = records(rows)
        self._witnesses = _one_of_each_transaction(found[-_MOST_WITNESSES:]) or self._witnesses
        oldest = min([row[5] for row in rows if row[5]], default=None)
        cursor, at = after.advance(now, reached.newest), reached.at.astimezone(UTC)
        batch = Batch(found, cursor, now, at, oldest, (*undecodable, *invalid))
        if self._on_tail is not None:
            self._on_tail(batch)
        return batch

    async def replay(self, after: Cursor, channels: Sequence[str], *, limit: Limit | None = None) -> Batch:
        most, most_bytes = (None, None) if limit is None else (limit.events + 1, limit.bytes)
        (head, *rows), undecodable = await self._difference("replay", after, [*channels], most, most_bytes)
        reached, now = _usable_position(head, after)
        if limit is not None and (len(rows) > limit.events or _is_larger(head, most_bytes)):
            raise CursorExpired(str(after))
        found, invalid = records(rows)
        cursor, at = after.advance(now, reached.newest), reached.at.astimezone(UTC)
        return Batch(found, cursor, now, at, unreadable=(*undecodable, *invalid))

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
        return await self._since(reached.lineage, reached.newest, None, 1)

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
        present = set(await self._since(after.lineage, oldest, channels, None))
        purges = await self._count_purges()
        # By their content, too: other events may have the same ids.
        if not present.issuperset(witnesses) and purges == self._purges:
            raise CursorRewound(str(after))
        self._history_in_doubt, self._purges = False, purges

    async def _since(
        self, lineage: Lineage, xid: int, channels: list[str] | None, most: int | None
    ) -> tuple[Record, ...]:
        """Return events of a transaction and later ones."""
        first = str(xid)
        (_, *rows), _ = await self._read("read", str(lineage), first, [], first, channels, most)
        return records(rows)[0]

    async def _count_purges(self) -> int:
        ((count,),) = await self._fetch("purges")
        return int(count)

    async def _difference(
        self, name: str, after: Cursor, *arguments: object, timeout: float | None = None
    ) -> tuple[Sequence[asyncpg.Record | Texts], Sequence[Unreadable]]:
        """Run a statement that takes a cursor: its first row holds the position, see `read.sql`."""
        last = after.snapshot
        cursor = (str(after.lineage), str(last.xmax), [*map(str, last.xip)], str(last.xmin))
        try:
            return await self._read(name, *cursor, *arguments, timeout=timeout)
        except asyncpg.PostgresError as error:
            if error.sqlstate != REMOVED:
                raise
            raise CursorExpired(str(after)) from None

    async def _read(
        self, name: str, *arguments: object, timeout: float | None = None
    ) -> tuple[Sequence[asyncpg.Record | Texts], Sequence[Unreadable]]:
        """Return the rows of `read` or `replay` that decode, and the others as `Unreadable`."""
        try:
            return await self._fetch(name, *arguments, timeout=timeout), ()
        except UNDECODABLE:
            rows = await self._fetch(f"{name}_bytes", *arguments, timeout=timeout)
            return decode(rows, self._encoding)

    async def _fetch(
        self, name: str, *arguments: object, timeout: float | None = None
    ) -> list[asyncpg.Record]:
        with unavailable():
            async with self._pool.connection() as connection:
                self._encoding = str(connection.get_settings().server_encoding)
                return await connection.fetch(statement(name), *arguments, timeout=timeout)


def _one_of_each_transaction(records: Iterable[Record]) -> tuple[Record, ...]:
    return tuple({record.xid: record for record in records}.values())


def _is_larger(head: asyncpg.Record | Texts, most_bytes: int | None) -> bool:
    """Return whether there is more payload than may be replayed, by the first row of `replay`."""
    return most_bytes is not None and int(head[5]) > most_bytes


def _usable_position(head: asyncpg.Record | Texts, after: Cursor) -> tuple[_Position, Snapshot]:
    """Read the position from the first row, and refuse a cursor that cannot be continued from there."""
    now, reached = Snapshot.parse(head[2]), _decode_position(head[3])
    if after.lineage.system != reached.system:
        raise CursorOfOtherDatabase(str(after))
    if after.lineage != reached.lineage or after.snapshot.xmax > now.xmax:
        raise CursorRewound(str(after))
    if after.snapshot.xmin < reached.floor:
        raise CursorExpired(str(after), reached.floor)
    return reached, now
