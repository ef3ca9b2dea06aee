"""Realtime for tests: the real hub, session and node, in memory or on a database, and clients that expect."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeAlias, TypeVar

import msgspec

from flowcraft.adapters.memory import MemoryBackend, MemoryTransaction
from flowcraft.adapters.postgres.backend import PostgresBackend
from flowcraft.adapters.postgres.connections import OwnPool
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.adapters.postgres.statements import statement
from flowcraft.channels import Channel, Channels
from flowcraft.cursors import Cursor
from flowcraft.errors import ChannelUnknown, TokenInvalid
from flowcraft.ports import Backend, EventLog
from flowcraft.records import Record
from flowcraft.runtime.node import Node
from flowcraft.runtime.serving import Serving
from flowcraft.settings import Settings
from flowcraft.testing.inbox import Inbox
from flowcraft.testing.subscription import Subscription, SubscriptionRefused
from flowcraft.viewers import Viewer

E = TypeVar("E")
Tables: TypeAlias = str | Callable[[str], Awaitable[object] | object]
"""What makes an application's tables: SQL, or a function that is given the database's address."""

EXPECT_SECONDS = 5.0
_ANSWER_SECONDS = 10.0
# Whoever stops in a debugger comes back to a server that has not gone stale meanwhile.
_SETTINGS = Settings(safety_poll_seconds=3600.0, heartbeat_seconds=3600.0, development=True)


class _TestAuthorizer:
    """Implements `flowcraft.ports.Authorizer`: knows the viewers that a test names."""

    required = False

    def __init__(self) -> None:
        self._viewers: dict[str, Viewer] = {}

    def admit(self, viewer: Viewer) -> str:
        """Return a token that proves a viewer."""
        token = str(len(self._viewers))
        self._viewers[token] = viewer
        return token

    async def authenticate(self, token: str) -> Viewer:
        try:
            return self._viewers[token]
        except KeyError:
            raise TokenInvalid from None


class RealtimeUnderTest(ABC):
    """What both kinds share. It is a `RealtimeService`: give it to the code under test.

    It starts with the first subscription, in the event loop of the test, and ends with the test.
    """

    def __init__(self, channels: Channels, backend: Backend, log: EventLog, timeout: float) -> None:
        self.channels = channels
        self._backend = backend
        self._log = log
        self.timeout = timeout
        self.loop: asyncio.AbstractEventLoop | None = None
        self._authorizer = _TestAuthorizer()
        self._serving: Serving | None = None
        self._subscriptions: list[Callable[[], None]] = []

    async def broadcast(self, channel: Channel[E], event: E, *, via: object | None = None) -> None:
        """State an event on a channel; see `RealtimeService.broadcast`."""
        await self._backend.service.broadcast(channel, event, via=via)

    async def subscribe(self, channel: Channel[E], *, since: Cursor | None = None) -> Subscription[E]:
        """Subscribe as a client without a token would: to what comes from now on, or after a cursor.

        Raises:
            SubscriptionRefused: the channel has a guard, or the cursor cannot be continued.
        """
        return await self.subscribe_as(channel, since, None)

    def as_viewer(self, viewer: Viewer | str, **claims: object) -> AsViewer:
        """Return somebody who may subscribe: a `Viewer`, or one made of a subject and claims."""
        return AsViewer(self, viewer if isinstance(viewer, Viewer) else Viewer(viewer, claims))

    async def cursor(self) -> Cursor:
        """Return where the log ends now, as `flowcraft.cursor()` does."""
        await self._start()
        return (await self._log.position()).cursor

    async def close(self) -> None:
        """End every subscription and stop; idempotent."""
        for leave in self._subscriptions:
            leave()
        self._subscriptions.clear()
        serving, self._serving = self._serving, None
        if serving is not None:
            await serving.stop()
        await self._backend.close()

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # What differs

    @abstractmethod
    async def prepare(self) -> None:
        """Make what the backend needs, once; subscribing does it too."""

    @abstractmethod
    async def draw_mark(self) -> int:
        """Run a transaction and return its id: who sees it ended sees all that ended before it."""

    @abstractmethod
    def unfinished(self) -> int:
        """How many transactions have begun and not ended, as far as is known."""

    @abstractmethod
    def is_exact_for(self, channel: Channel[E]) -> bool:
        """Whether it can be known that nothing is under way."""

    @property
    @abstractmethod
    def source(self) -> str:
        """Where events would come from: what to look at if none came."""

    async def committed_since(self, cursor: Cursor) -> Sequence[Record]:
        """Return what was committed after a cursor, on all channels."""
        return (await self._log.tail(cursor)).records

    # What is the same

    async def _start(self) -> Node:
        running = _running_loop()
        if self._serving is None:
            self.loop = running
            await self.prepare()
            self._serving = Serving(
                self.channels, self._backend, settings=_SETTINGS, authorizer=self._authorizer
            )
            self._serving.start()
            await self._serving.node.until_accepting()
        elif self.loop is not running:
            raise RuntimeError(
                "this realtime runs in another event loop; use it from one loop, or make another"
            )
        return self._serving.node

    async def subscribe_as(
        self, channel: Channel[E], since: Cursor | None, viewer: Viewer | None
    ) -> Subscription[E]:
        """Subscribe as a viewer, or as nobody: what `subscribe` of this and of an `AsViewer` do."""
        self._check_ours(channel)
        node, inbox = await self._start(), Inbox()
        # Not where the server is: it may have yet to read what was committed before this call.
        begun = since or (await self._log.position()).cursor
        gateway = node.connect(inbox)
        self._subscriptions.append(gateway.closed)
        if viewer is not None:
            gateway.received(_frame(auth=self._authorizer.admit(viewer)))
        gateway.received(_frame(subscribe=[channel.name], since=str(begun)))
        async with asyncio.timeout(_ANSWER_SECONDS):
            while inbox.answer is None:
                await inbox.news()
        if inbox.answer != "subscribed":
            gateway.closed()
            raise SubscriptionRefused(channel.name, inbox.answer, _reason(inbox.answer, viewer))
        return Subscription(channel, gateway, inbox, begun, self)

    def _check_ours(self, channel: Channel[E]) -> None:
        try:
            declaration, _ = self.channels.resolve(channel.name)
        except ChannelUnknown:
            declaration = None
        if declaration is not channel.declaration:
            raise TypeError(
                f"{channel.name} is not one of the channels of this realtime; "
                "let the fixture `realtime_channels` return those of your application"
            )


@dataclass(frozen=True, slots=True)
class AsViewer:
    """Somebody who subscribes: the guards are asked about this viewer."""

    realtime: RealtimeUnderTest
    viewer: Viewer

    async def subscribe(self, channel: Channel[E], *, since: Cursor | None = None) -> Subscription[E]:
        """Subscribe as this viewer.

        Raises:
            SubscriptionRefused: the channel's guard said no, or the cursor cannot be continued.
        """
        return await self.realtime.subscribe_as(channel, since, self.viewer)


class InMemoryRealtime(RealtimeUnderTest):
    """On a log in memory, with the promises of the one in PostgreSQL. There are no triggers: state events.

    async with InMemoryRealtime(channels) as realtime:
        runs = await realtime.subscribe(run_update)
    """

    def __init__(self, channels: Channels, *, timeout: float = EXPECT_SECONDS) -> None:
        backend = MemoryBackend()
        super().__init__(channels, backend, backend.log, timeout)
        self.log = backend.log

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[MemoryTransaction]:
        """Lend a transaction, for `via=`: it commits with the block, or rolls back with an exception."""
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

    def is_exact_for(self, channel: Channel[E]) -> bool:  # noqa: ARG002  # all are
        return True

    @property
    def source(self) -> str:
        return "is the code under test given this `realtime`, and was what it does awaited?"


class DatabaseRealtime(RealtimeUnderTest):
    """On a database of its own, `dsn`: tables, triggers, transactions and notifications as in production.

    `tables` makes the application's tables, before the triggers of its channels are installed.
    """

    def __init__(
        self, channels: Channels, dsn: str, *, tables: Tables = "", timeout: float = EXPECT_SECONDS
    ) -> None:
        # A log of its own: the one that the backend opens is the relay's.
        self._own_log = PostgresLog(dsn)
        self._postgres = PostgresBackend(dsn)
        super().__init__(channels, self._postgres, self._own_log, timeout)
        self.dsn = dsn
        self._tables = tables
        self._pool = OwnPool(dsn)
        self._is_prepared = False

    async def prepare(self) -> None:
        """Make the tables, the log and the triggers; whoever subscribes or broadcasts does it too."""
        self.loop = self.loop or _running_loop()
        if self._is_prepared:
            return
        if not isinstance(self._tables, str):
            await _call(self._tables, self.dsn)
        elif self._tables:
            async with self._pool.connection() as connection:
                await connection.execute(self._tables)
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
        await self._postgres.until_listening()  # before that an ephemeral event would be missed
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
        return f"does the code under test write to {self.dsn}, and does it commit?"


async def _call(tables: Callable[[str], Awaitable[object] | object], dsn: str) -> None:
    # In a thread: migration tools are synchronous, and some start an event loop of their own.
    made = await asyncio.to_thread(tables, dsn)
    if isinstance(made, Awaitable):
        await made


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "realtime needs asyncio; let the test run on it (anyio_backend 'asyncio')"
        ) from None


def _frame(**members: object) -> str:
    return msgspec.json.encode(members).decode()


def _reason(code: str, viewer: Viewer | None) -> str:
    if code != "forbidden":
        return "what came after the cursor cannot be told; subscribe without it, or from a newer one"
    if viewer is None:
        return "it has a guard, and nobody is let in unseen; subscribe with realtime.as_viewer(…)"
    return (
        f"its guard said no to {viewer.subject!r}, or raised: then the log of `flowcraft` has the exception"
    )
