"""A backend on SQLite: Realtime(channels, backend=SqliteBackend("app.db")).

SQLite has one writer at a time, so a transaction's id is the number of its commit, and a cursor names no
transaction that runs: it is one number in the clothes of a snapshot.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Self, TypeVar

from flowcraft import Channel
from flowcraft.cursors import Cursor, Lineage, Snapshot
from flowcraft.errors import CursorExpired, CursorOfOtherDatabase, CursorRewound
from flowcraft.ports import BackendContext, LogReader
from flowcraft.records import Batch, Ephemeral, Limit, Record

E = TypeVar("E")
LOOK_SECONDS = 0.02
READ = "select xid, id, channel, payload from event where xid >= ? order by id"
SCHEMA = """
pragma journal_mode = wal;
create table if not exists log (system integer, generation integer, xid integer, floor integer);
insert into log select abs(random()), 0, 0, 1 where not exists (select 1 from log);
create table if not exists event (
    id integer primary key autoincrement, xid integer, channel text, payload text
);
create index if not exists event_xid on event (xid);
"""


class SqliteLog:
    """An `EventLog` in a file of SQLite, with one writer at a time."""

    def __init__(self, path: str) -> None:
        self.tailed_version = -1
        self._path = path
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript(SCHEMA)

    async def position(self) -> Batch:
        with self._reading() as (lineage, now, floor):
            (newest,) = self._db.execute("select coalesce(max(xid), 0) from event").fetchone()
        return Batch((), Cursor(lineage, now.clamp(max(newest + 1, floor))), now, datetime.now(UTC))

    async def tail(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        version = self.version()
        batch = self._difference(after)
        size = sum(len(record.payload.encode()) for record in batch.records)
        if limit is not None and (len(batch.records) > limit.events or size > (limit.bytes or size)):
            raise CursorExpired(str(after))
        self.tailed_version = version
        return batch

    async def replay(self, after: Cursor, channels: Sequence[str], *, limit: Limit | None = None) -> Batch:
        batch = self._difference(after)
        records = tuple(record for record in batch.records if record.channel in channels)
        size = sum(len(record.payload.encode()) for record in records)
        if limit is not None and (len(records) > limit.events or size > (limit.bytes or size)):
            raise CursorExpired(str(after))
        return replace(batch, records=records)

    async def rewound(self, last: Cursor) -> Batch:
        after = last.lineage.generation
        self._db.execute("update log set generation = ? + 1 where generation <= ?", (after, after))
        return await self.position()

    def trim(self, *, before: int) -> None:
        """Remove the events of transactions below `before`."""
        with SqliteTransaction(self._path) as transaction:
            transaction.connection.execute("update log set floor = max(floor, min(?, xid))", (before,))
            transaction.connection.execute("delete from event where xid < (select floor from log)")

    def begin(self) -> SqliteTransaction:
        """Start the one transaction that writes."""
        return SqliteTransaction(self._path)

    def version(self) -> int:
        """Return a number that changes when another connection has committed."""
        return int(self._db.execute("pragma data_version").fetchone()[0])

    def close(self) -> None:
        self._db.close()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[tuple[Lineage, Snapshot, int]]:
        self._db.execute("begin")
        try:
            system, generation, xid, floor = self._db.execute("select * from log").fetchone()
            yield Lineage(system, 1, generation), Snapshot(xid + 1), floor
        finally:
            self._db.execute("commit")

    def _difference(self, after: Cursor) -> Batch:
        with self._reading() as (lineage, now, floor):
            if after.lineage.system != lineage.system:
                raise CursorOfOtherDatabase(str(after))
            if after.lineage != lineage or after.snapshot.xmax > now.xmax:
                raise CursorRewound(str(after))
            if after.snapshot.xmin < floor:
                raise CursorExpired(str(after), floor)
            rows = self._db.execute(READ, (after.snapshot.xmin,)).fetchall()
        records = tuple(Record(*row) for row in rows if not after.covers(row[0]))
        newest = max((record.xid for record in records), default=None)
        return Batch(records, after.advance(now, newest), now, datetime.now(UTC))


class SqliteTransaction:
    """The transaction that writes; the tables of an application can be written over its `connection`, too."""

    def __init__(self, path: str) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("begin immediate")
        self.connection.execute("update log set xid = xid + 1")
        self.xid: int = self.connection.execute("select xid from log").fetchone()[0]

    def broadcast(self, channel: str, payload: str) -> None:
        row = (self.xid, channel, payload)
        self.connection.execute("insert into event (xid, channel, payload) values (?, ?, ?)", row)

    def commit(self) -> None:
        self.connection.execute("commit")
        self.connection.close()

    def rollback(self) -> None:
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        (self.commit if error is None else self.rollback)()


class SqliteWakeups:
    """`Wakeups` by looking: SQLite knows, in a microsecond, whether another connection has committed."""

    state = "polling"
    trouble = None

    def __init__(self, log: SqliteLog, safety_seconds: float) -> None:
        self._log = log
        self._safety_seconds = safety_seconds
        self._hurried = asyncio.Event()

    async def wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._safety_seconds):
                while self._log.version() == self._log.tailed_version:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(LOOK_SECONDS):
                            await self._hurried.wait()
                            break
        self._hurried.clear()

    def hurry(self) -> None:
        self._hurried.set()


class SqliteService:
    """A `RealtimeService`; `via` takes a `SqliteTransaction`.

    Events of channels outside the log reach the clients of this process only.
    """

    def __init__(self, path: str) -> None:
        self.context: BackendContext | None = None
        self._path = path

    async def broadcast(self, channel: Channel[E], event: E, *, via: object | None = None) -> None:
        payload = channel.declaration.payload.encode(event)
        if not channel.declaration.durable:
            if via is not None:
                raise TypeError("via takes no event of a channel outside the log: SQLite has no NOTIFY")
            if self.context is not None:
                self.context.deliver(Ephemeral(channel.name, payload))
        elif isinstance(via, SqliteTransaction):
            via.broadcast(channel.name, payload)
        elif via is None:
            with SqliteTransaction(self._path) as transaction:
                transaction.broadcast(channel.name, payload)
        else:
            raise TypeError(f"via takes a SqliteTransaction here, got {type(via).__name__}")


class SqliteBackend:
    """A `Backend` in one file: for one machine, and for events in their thousands."""

    def __init__(self, path: str) -> None:
        self.service = SqliteService(path)
        self._path = path
        self._log: SqliteLog | None = None
        SqliteLog(path).close()  # makes the tables, which the service needs before a node is there

    def open(self, context: BackendContext) -> LogReader:
        self.service.context = context
        self._log = SqliteLog(self._path)
        return LogReader(self._log, SqliteWakeups(self._log, context.settings.safety_poll_seconds))

    async def close(self) -> None:
        self.service.context = None
        log, self._log = self._log, None
        if log is not None:
            log.close()
