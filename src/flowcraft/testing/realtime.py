"""Realtime for tests: the real hub, session and node, in memory or on a database, with test clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias, TypeVar

import asyncpg
import msgspec

from flowcraft.adapters.memory import MemoryBackend, MemoryTransaction
from flowcraft.adapters.postgres.backend import PostgresBackend
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.adapters.postgres.pool import OwnPool
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.adapters.postgres.statements import statement
from flowcraft.channels import Channels
from flowcraft.declared_channels import Channel, RowsChannel
from flowcraft.records import Kind
from flowcraft.runtime.node import Node
from flowcraft.settings import MEMBERS_LISTED
from flowcraft.testing.under_test import RealtimeUnderTest, running_loop

E = TypeVar("E")
Tables: TypeAlias = str | Callable[[str], Awaitable[object] | object]
"""SQL that creates an application's tables, or a function called with the database's address."""

EXPECT_SECONDS = 5.0


class InMemoryRealtime(RealtimeUnderTest):
    """On a log in memory, with the guarantees of the log in PostgreSQL. Without triggers: broadcast events.

    async with InMemoryRealtime(channels) as realtime:
        runs = await realtime.subscribe(run_update)

    A channel with more than `members_listed` members has a count in the place of their list.
    """

    def __init__(
        self,
        channels: Channels,
        *,
        timeout: float = EXPECT_SECONDS,
        members_listed: int = MEMBERS_LISTED,
    ) -> None:
        backend = MemoryBackend()
        super().__init__(channels, backend, backend.log, timeout, members_listed)
        self.log = backend.log

    async def broadcast_gone(
        self, channel: Channel[E] | RowsChannel[E], *, via: MemoryTransaction | None = None, **key: object
    ) -> None:
        """Commit that the row with a key left a channel, as the trigger of a table does for a delete."""
        self._write(channel.name, msgspec.json.encode(key).decode(), Kind.GONE, via)

    async def put_row(self, channel: RowsChannel[E], row: E, *, via: MemoryTransaction | None = None) -> None:
        """Commit a row of a channel of rows, as an insert or an update of its table does.

        In memory there are no tables: the rows of a channel are those that were put and have not left.

        Raises:
            PayloadInvalid: the row does not fit its type.
        """
        self._write(channel.name, channel.declaration.payload.encode(row), Kind.EVENT, via)

    def _write(self, channel: str, payload: str, kind: Kind, via: MemoryTransaction | None) -> None:
        transaction = via or self.log.begin()
        transaction.broadcast(channel, payload, kind)
        if via is None:
            transaction.commit()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[MemoryTransaction]:
        """Yield a transaction, for `via=`: it commits with the block, or rolls back on an exception."""
        transaction = self.log.begin()
        try:
            yield transaction
        except BaseException:
            transaction.rollback()
            raise
        transaction.commit()

    async def prepare(self) -> None:
        """Do nothing: a log in memory needs no tables."""

    async def draw_mark(self) -> int:
        transaction = self.log.begin()
        transaction.commit()
        return transaction.xid

    def unfinished(self) -> int:
        return self.log.running

    def is_exact_for(self, channel: Channel[E]) -> bool:  # noqa: ARG002  # in memory, every channel is exact
        return True

    @property
    def source(self) -> str:
        return "check that the code under test uses this `realtime`, and that it was awaited"


class DatabaseRealtime(RealtimeUnderTest):
    """On its own database, `dsn`: tables, triggers, transactions and notifications as in production.

    `tables` creates the application's tables, before the triggers of its channels are installed. A channel
    with more than `members_listed` members has a count in the place of their list.
    """

    def __init__(
        self,
        channels: Channels,
        dsn: str,
        *,
        tables: Tables = "",
        timeout: float = EXPECT_SECONDS,
        members_listed: int = MEMBERS_LISTED,
    ) -> None:
        # A second log: the one that the backend opens belongs to the relay.
        self._own_log = PostgresLog(dsn)
        self._postgres = PostgresBackend(dsn)
        super().__init__(channels, self._postgres, self._own_log, timeout, members_listed)
        self.dsn = dsn
        self._tables = tables
        self._pool = OwnPool(dsn)
        self._is_prepared = False

    async def prepare(self) -> None:
        """Create the tables, the log and the triggers, once; subscribing and broadcasting do it too."""
        self.loop = self.loop or running_loop()
        if self._is_prepared:
            return
        if not isinstance(self._tables, str):
            await _call(self._tables, self.dsn)
        elif self._tables:
            # Not by the pool, whose sessions have a search_path of their own.
            connection = await asyncpg.connect(self.dsn)
            try:
                await connection.execute(self._tables)
            finally:
                await connection.close()
        await migrate(self.dsn, self.channels)
        self._is_prepared = True

    async def broadcast(self, channel: Channel[E], event: E, *, via: object | None = None) -> None:
        await self.prepare()
        await super().broadcast(channel, event, via=via)

    async def close(self) -> None:
        await super().close()
        for owned in (self._own_log, self._pool):
            await owned.close()

    async def _start(self) -> Node:
        node = await super()._start()
        await self._postgres.until_listening()  # an earlier ephemeral event would be missed
        return node

    async def draw_mark(self) -> int:
        async with self._pool.connection() as connection:
            return int(await connection.fetchval(statement("draw_mark")))

    def unfinished(self) -> int:
        return 0

    def is_exact_for(self, channel: Channel[E]) -> bool:
        return channel.declaration.durable

    @property
    def source(self) -> str:
        return f"check that the code under test writes to {self.dsn}, and that it commits"


async def _call(tables: Callable[[str], Awaitable[object] | object], dsn: str) -> None:
    # In a thread: migration tools are synchronous, and some start an event loop of their own.
    made = await asyncio.to_thread(tables, dsn)
    if isinstance(made, Awaitable):
        await made
