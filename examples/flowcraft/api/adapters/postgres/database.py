"""The database: a pool of connections, transactions on it, and the product's queries by name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeAlias, TypeVar

import asyncpg
import msgspec

from examples.flowcraft.api.core.ports import State

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

T = TypeVar("T")
_QUERIES = Path(__file__).parent / "sql"


class Database:
    """A pool that is open between `async with` and its end."""

    def __init__(self, dsn: str, *, connections: int = 10) -> None:
        self.dsn = dsn
        self._connections = connections
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    async def __aenter__(self) -> Self:
        self._pool = await asyncpg.create_pool(self.dsn, min_size=1, max_size=self._connections)
        return self

    async def __aexit__(self, *exception: object) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """Borrow a connection."""
        assert self._pool is not None, "open the database first: async with Database(dsn) as database"
        return self._pool.acquire()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Begin a transaction: it commits at the end of the block, and rolls back if the block raises."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def state(self, query: str, *arguments: object, of: type[T]) -> State[T] | None:
        """Run a query that returns a JSON `data` and the `cursor` of the same moment. None: no such data."""
        async with self.connection() as connection:
            row = await connection.fetchrow(sql(query), *arguments)
        assert row is not None
        return (
            None if row["data"] is None else State(msgspec.json.decode(row["data"], type=of), row["cursor"])
        )


class PostgresTransaction:
    """One transaction on one connection; events that are broadcast `via` its connection are part of it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def connection(self) -> object:
        """What `RealtimeService.broadcast` takes as `via`."""
        return self._connection

    async def xid(self) -> str:
        """Name the transaction."""
        xid: str = await self._connection.fetchval("select pg_current_xact_id()::text")
        return xid

    async def _one(self, query: str, *arguments: object, of: type[T]) -> T | None:
        """Run a query that returns one JSON value, or none."""
        found: str | None = await self._connection.fetchval(sql(query), *arguments)
        return None if found is None else msgspec.json.decode(found, type=of)

    async def _does(self, query: str, *arguments: object) -> bool:
        """Run a statement; return whether it found a row."""
        return await self._connection.fetchrow(sql(query), *arguments) is not None


@cache
def sql(name: str) -> str:
    """Return the query that is kept under this name."""
    return (_QUERIES / f"{name}.sql").read_text(encoding="utf-8")
