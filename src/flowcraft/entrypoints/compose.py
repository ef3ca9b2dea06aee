"""Compose: choose the parts, and join them into the one object that an application holds."""

from __future__ import annotations

import os
import re
from functools import cached_property
from types import TracebackType
from typing import Self, TypeVar

from flowcraft.adapters.asgi import AsgiApp
from flowcraft.adapters.opentelemetry import find_tracer
from flowcraft.adapters.postgres.listener import PostgresListener
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.adapters.postgres.retention import PostgresRetention
from flowcraft.adapters.postgres.service import PostgresRealtimeService, broadcast_sync
from flowcraft.adapters.shared_metrics import SharedMetrics
from flowcraft.adapters.uvicorn import give_back
from flowcraft.channels import Channel, Channels
from flowcraft.entrypoints.asgi import RealtimeApp
from flowcraft.errors import RealtimeError
from flowcraft.ports import Authorizer, RealtimeService, Tracer
from flowcraft.records import Ephemeral
from flowcraft.runtime.clock import SystemClock
from flowcraft.runtime.node import Node
from flowcraft.settings import Settings

E = TypeVar("E")


class NoDatabase(RealtimeError):
    """Nobody said where the database is."""

    code = "no_database"

    def __init__(self) -> None:
        super().__init__("no database: pass dsn=..., or set FLOWCRAFT_DSN or DATABASE_URL")


class DatabaseAddressInvalid(RealtimeError):
    """What somebody said is not where a PostgreSQL could be. The text has no password in it."""

    code = "bad_database_address"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the database's address {reason}; write postgresql://user:password@host:5432/name")


class Realtime:
    """An application's channels on a PostgreSQL database: broadcasts into it, and serves browsers from it.

    Making one connects to nothing; a pool is opened by the first broadcast, the log is followed while it
    serves. It belongs to one event loop at a time. `dsn` defaults to FLOWCRAFT_DSN, then DATABASE_URL,
    looked up when needed.
    """

    def __init__(
        self,
        channels: Channels,
        *,
        dsn: str | None = None,
        settings: Settings | None = None,
        authorizer: Authorizer | None = None,
    ) -> None:
        self.channels = channels
        self.settings = settings or Settings()
        self._dsn = dsn
        self._authorizer = authorizer
        self._service: PostgresRealtimeService | None = None
        self._serving: _Serving | None = None

    @property
    def dsn(self) -> str:
        """Where the database is.

        Raises:
            NoDatabase: nobody said.
            DatabaseAddressInvalid: it is no address of a PostgreSQL.
        """
        dsn = self._dsn or os.environ.get("FLOWCRAFT_DSN") or os.environ.get("DATABASE_URL")
        if not dsn:
            raise NoDatabase
        _check_address(dsn)
        return dsn

    @property
    def service(self) -> RealtimeService:
        """The port that services take in their constructor."""
        return self

    @cached_property
    def _tracer(self) -> Tracer | None:
        return find_tracer()

    async def broadcast(self, channel: Channel[E], event: E, *, via: object | None = None) -> None:
        """State an event on a channel; see `RealtimeService.broadcast`."""
        if self._service is None:
            self._service = PostgresRealtimeService(self.dsn, self._tracer)
        await self._service.broadcast(channel, event, via=via)

    def broadcast_sync(self, channel: Channel[E], event: E, *, via: object) -> None:
        """State an event from synchronous code, such as a view of Django, in its transaction.

        `via` is a psycopg connection, an SQLAlchemy connection or session, or a connection of Django or its
        alias. This opens no connection of its own.

        Raises:
            PayloadInvalid: the event does not fit its type; nothing was stored.
            TypeError: `via` is something else, or has no transaction open.
        """
        broadcast_sync(channel, event, via=via, tracer=self._tracer)

    def asgi(self, app: AsgiApp | None = None, *, path: str = "/realtime") -> RealtimeApp:
        """Return an ASGI application that serves WebSockets at `path`, and leaves all else to `app`.

        `app = realtime.asgi(app)` wraps an application of any framework, and starts and stops with it.
        Without `app` it can be mounted: after `app.mount("/realtime", realtime.asgi())` the address of the
        WebSocket is `/realtime/`, with the slash that Starlette wants. Frameworks do not tell what is mounted
        that they end: use `async with realtime` around the `yield` of the application's own lifespan.
        """
        return RealtimeApp(self, app, path)

    async def start(self) -> Node:
        """Follow the log, and return the node that serves it; the same one until `stop`."""
        if self._serving is None:
            self._serving = _Serving(self)
            await self._serving.start()
        return self._serving.node

    async def stop(self) -> None:
        """Send the clients away, stop following, and close every connection to the database."""
        serving, self._serving = self._serving, None
        if serving is not None:
            await serving.stop()
        service, self._service = self._service, None
        if service is not None:
            await service.close()

    async def __aenter__(self) -> Self:
        """Use it outside a server, in a worker: what is needed is opened when it is needed."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def authorizer(self) -> Authorizer | None:
        """What proves who a viewer is."""
        return self._authorizer


class _Serving:
    """The parts of a node on PostgreSQL, started and stopped together."""

    def __init__(self, realtime: Realtime) -> None:
        self._log = PostgresLog(realtime.dsn)
        self._listener = PostgresListener(
            realtime.dsn,
            realtime.channels,
            self._deliver,
            safety_seconds=realtime.settings.safety_poll_seconds,
        )
        self.node = Node(
            realtime.channels,
            self._log,
            self._listener,
            settings=realtime.settings,
            authorizer=realtime.authorizer,
            clock=SystemClock(),
            tracer=find_tracer(),
        )
        self._retention = PostgresRetention(
            realtime.dsn,
            keep_seconds=realtime.settings.retention_seconds,
            ticked=lambda: self.node.supervisor.recovered("retention"),
        )

    async def start(self) -> None:
        self.node.start()
        self.node.supervisor.keep("listener", self._listener.run)
        self.node.supervisor.keep("retention", self._retention.run)
        board = SharedMetrics.found()
        if board is not None:
            self.node.supervisor.keep("metrics", lambda: board.keep(self.node.report))

    async def stop(self) -> None:
        give_back(self.node)
        await self.node.drain()
        await self.node.stop()
        await self._retention.close()
        await self._log.close()

    def _deliver(self, event: Ephemeral) -> None:
        self.node.broadcast_ephemeral(event)


def _check_address(dsn: str) -> None:
    """Refuse what no attempt to connect will ever make good: a server would go on trying."""
    scheme, _, rest = dsn.partition("://")
    if scheme not in ("postgresql", "postgres"):
        raise DatabaseAddressInvalid(f"begins with {scheme[:24]!r}" if rest else "is not a URL")
    hosts = re.split(r"[/?#]", rest.rpartition("@")[2] if "@" in rest.partition("?")[0] else rest)[0]
    for host in hosts.split(","):
        port = host.rpartition("]")[2].partition(":")[2]
        if port and not port.isdigit():
            raise DatabaseAddressInvalid("has a port that is no number")  # which may be half a password
