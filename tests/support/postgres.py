"""A log in PostgreSQL that tests write to through as many connections as they have transactions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg

from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.channels import Channels

if TYPE_CHECKING:
    Plain = asyncpg.Connection[asyncpg.Record]


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Plain]:
    """Lend a connection."""
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close(timeout=5)


class Ear:
    """Keeps the payloads of the notifications it is told of."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def __call__(self, *arguments: object) -> None:
        self.heard.append(str(arguments[-1]))


class PostgresTransaction:
    """A transaction on a connection of its own."""

    def __init__(self, connection: Plain, xid: int) -> None:
        self.xid = xid
        self.connection = connection

    @classmethod
    async def begin(cls, dsn: str) -> PostgresTransaction:
        connection = await asyncpg.connect(dsn)
        await connection.execute("begin")
        return cls(connection, int(await connection.fetchval("select pg_current_xact_id()::text")))

    async def broadcast(self, channel: str, payload: str) -> None:
        await self.connection.execute("select flowcraft.broadcast($1, $2::text::json)", channel, payload)

    async def commit(self) -> None:
        await self.connection.execute("commit")
        await self.connection.close()

    async def rollback(self) -> None:
        await self.connection.execute("rollback")
        await self.connection.close()


class AppendablePostgresLog(PostgresLog):
    """The log under test, and a way to write to it."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        self.dsn = dsn
        self._begun: list[PostgresTransaction] = []

    async def begin(self) -> PostgresTransaction:
        self._begun.append(await PostgresTransaction.begin(self.dsn))
        return self._begun[-1]

    async def close(self) -> None:
        for transaction in self._begun:
            transaction.connection.terminate()
        await super().close()


@asynccontextmanager
async def migrated(dsn: str, channels: Channels | None = None) -> AsyncIterator[AppendablePostgresLog]:
    """Lend the log of a database that has just been made."""
    await migrate(dsn, channels or Channels())
    log = AppendablePostgresLog(dsn)
    try:
        yield log
    finally:
        await log.close()
