"""Realtime: choose the parts, and join them into the one object that an application holds."""

from __future__ import annotations

import asyncio
import os
from types import TracebackType
from typing import Any, Self, TypeVar

from flowcraft.adapters.asgi import AsgiApp
from flowcraft.adapters.loop_end import LoopEnd
from flowcraft.adapters.opentelemetry import find_tracer
from flowcraft.adapters.postgres.backend import PostgresBackend
from flowcraft.channels import Channels
from flowcraft.core.withdrawals import Withdrawal
from flowcraft.declared_channels import Channel
from flowcraft.entrypoints.asgi import RealtimeApp
from flowcraft.entrypoints.metrics import keep_metrics
from flowcraft.errors import RealtimeError
from flowcraft.ports import Authorizer, Backend, RealtimeService, RevokingService, SyncRealtimeService
from flowcraft.runtime.node import Node
from flowcraft.runtime.serving import Serving
from flowcraft.settings import LOG_URL, Settings
from flowcraft.viewers import Viewer

E = TypeVar("E")


class NotOnPostgres(RealtimeError):
    """A command or caller needs the address of a PostgreSQL database, and the backend is another one."""

    code = "not_on_postgres"

    def __init__(self, backend: Backend) -> None:
        super().__init__(
            f"this needs a PostgreSQL database, and the application is on {type(backend).__name__}; "
            "pass --dsn to the command, or use PostgresBackend"
        )


class Realtime:
    """An application's channels on a backend: broadcasts into it, and serves browsers from it.

    The backend is `PostgresBackend(dsn)` unless another is passed; `dsn` defaults to FLOWCRAFT_DSN, then
    DATABASE_URL, then the default database of Django's settings, read when needed. With FLOWCRAFT_LOG_URL in
    the environment it is an edge, which follows the relays at that address of NATS. The constructor connects
    to nothing: the first broadcast opens a pool, and `start` begins to read the log. An instance belongs to
    one event loop at a time.
    """

    def __init__(
        self,
        channels: Channels,
        *,
        dsn: str | None = None,
        backend: Backend | None = None,
        settings: Settings | None = None,
        authorizer: Authorizer | None = None,
    ) -> None:
        if dsn is not None and backend is not None:
            raise TypeError("pass dsn=... or backend=..., not both; PostgresBackend takes the dsn")
        self.channels = channels
        self.settings = settings or Settings()
        self.backend: Backend = _default_backend(dsn) if backend is None else backend
        self._authorizer = authorizer
        self._serving: Serving | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_end: LoopEnd | None = None

    @property
    def dsn(self) -> str:
        """The address of the database.

        Raises:
            NoDatabase: no address was passed, and the environment has none.
            DatabaseAddressInvalid: the address is not one of a PostgreSQL database.
            NotOnPostgres: the backend is another one.
        """
        return self.database.dsn

    @property
    def database(self) -> PostgresBackend:
        """The backend on PostgreSQL: that of this object, or the one whose relays an edge follows.

        Raises:
            NotOnPostgres: the backend is another one.
        """
        found = getattr(self.backend, "database", self.backend)
        if not isinstance(found, PostgresBackend):
            raise NotOnPostgres(self.backend)
        return found

    @property
    def service(self) -> RealtimeService:
        """This object as the port that services take in their constructor."""
        return self

    async def broadcast(self, channel: Channel[E], event: E, *, via: object | None = None) -> None:
        """Broadcast an event on a channel; see `RealtimeService.broadcast`."""
        await self.backend.service.broadcast(channel, event, via=via)

    async def revoke(
        self,
        viewer: str | Viewer | None,
        channel: Channel[Any] | str | None = None,
        *,
        via: object | None = None,
    ) -> None:
        """Withdraw a viewer's right to a channel, in commit order.

        No event of the log that commits with this transaction or after it is delivered to that viewer: the
        subscription ends with `forbidden` on every server. An ephemeral event, which is outside the log, may
        still be delivered until the server has read the withdrawal. Without `channel` all subscriptions end,
        without `viewer` those of all viewers; `"teams.*"` is a whole family. When the viewer subscribes again
        its guard is asked again, so change what the guard reads in the same transaction: pass `via`.

        Raises:
            TypeError: the backend cannot withdraw rights, or `via` is as in `broadcast`.
        """
        service = self.backend.service
        if not isinstance(service, RevokingService):
            raise TypeError(f"{type(self.backend).__name__} cannot withdraw rights")
        subject = viewer.subject if isinstance(viewer, Viewer) else viewer
        name = channel.name if isinstance(channel, Channel) else channel
        await service.revoke(Withdrawal(subject, name, ask=False), via=via)

    def broadcast_sync(self, channel: Channel[E], event: E, *, via: object) -> None:
        """Broadcast an event from synchronous code, such as a view of Django, in its transaction.

        `via` is a psycopg connection, an SQLAlchemy connection or session, or a connection of Django or its
        alias. No other connection is opened.

        Raises:
            PayloadInvalid: the event does not fit its type; nothing was stored.
            TypeError: `via` is something else, or has no transaction open; or the backend supports no
                synchronous transactions.
        """
        service = self.backend.service
        if not isinstance(service, SyncRealtimeService):
            raise TypeError(
                f"{type(self.backend).__name__} supports no synchronous transactions; "
                "await broadcast(...) instead"
            )
        service.broadcast_sync(channel, event, via=via)

    def asgi(
        self, app: AsgiApp | None = None, *, path: str = "/realtime", direct: bool = True
    ) -> RealtimeApp:
        """Return an ASGI application that serves WebSockets at `path`, and passes all else to `app`.

        `app = realtime.asgi(app)` wraps an application of any framework, and starts and stops with it.
        Without `app` it can be mounted: after `app.mount("/realtime", realtime.asgi())` the address of the
        WebSocket is `/realtime/`, with the slash that Starlette wants. Frameworks do not pass their shutdown
        on to a mounted application: use `async with realtime` around the `yield` of the application's own
        lifespan.

        Every request, every message of a client and every close passes all middleware. On uvicorn our frames
        go straight to the socket, not through the `send` of middleware; with `direct=False` they are sent as
        ASGI messages, at a third of the speed.
        """
        return RealtimeApp(self, app, path, direct=direct, settings=self.settings)

    async def start(self) -> Node:
        """Start reading the log, and return the node that serves it; the same one until `stop`.

        The node stops with its event loop. In the next loop this starts another.

        Raises:
            RuntimeError: it is started in another event loop, which is not closed.
        """
        if self._serving is not None and not self._is_of_this_loop():
            self._serving = None
        if self._serving is None:
            serving = self._serving = Serving(
                self.channels,
                self.backend,
                settings=self.settings,
                authorizer=self._authorizer,
                tracer=find_tracer(),
            )
            self._loop, self._loop_end = asyncio.get_running_loop(), LoopEnd(self.stop)
            serving.start()
            keep_metrics(serving.node)
            await self._loop_end.begin()
            return serving.node
        return self._serving.node

    async def stop(self) -> None:
        """Drain the clients, stop reading the log, and close the backend.

        Raises:
            RuntimeError: it is started in another event loop, which is not closed.
        """
        if self._serving is not None and self._is_of_this_loop():
            serving, self._serving = self._serving, None
            await serving.node.drain()
            await serving.stop()
        self._serving = None
        await self.backend.close()
        end, self._loop_end = self._loop_end, None
        if end is not None:
            await end.drop()

    def _is_of_this_loop(self) -> bool:
        """Return whether the node was started in the running loop; False if its loop is closed."""
        if self._loop is asyncio.get_running_loop():
            return True
        if self._loop is not None and not self._loop.is_closed():
            raise RuntimeError(
                "this Realtime is started in another event loop, and serves in one at a time; "
                "in tests use one client for all: with TestClient(app) as client"
            )
        return False

    async def __aenter__(self) -> Self:
        """Use it outside a server, as in a task worker: the backend opens connections when it needs them."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def authorizer(self) -> Authorizer | None:
        """The authorizer that was passed; None if every client is anonymous."""
        return self._authorizer


def _default_backend(dsn: str | None) -> Backend:
    database = PostgresBackend(dsn)
    url = os.environ.get(LOG_URL, "").strip()
    if not url:
        return database
    from flowcraft.adapters.nats.backend import NatsBackend

    return NatsBackend(url, database)
