"""The carriers on real sockets: a node on a log in memory, served in each of the ways there are."""

from __future__ import annotations

import asyncio
import socket
import warnings
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import uvicorn

from flowcraft.adapters.asgi import AsgiApp, Receive, Scope, Send, serve_websocket
from flowcraft.adapters.asgi_event_stream import serve_event_stream
from flowcraft.adapters.memory import MemoryLog, MemoryRealtimeService, MemoryWakeups
from flowcraft.channels import Channels
from flowcraft.core.hub_effects import SessionId
from flowcraft.entrypoints.serve import Server
from flowcraft.events import Event
from flowcraft.ports import Authorizer
from flowcraft.runtime.clock import SystemClock
from flowcraft.runtime.node import Node
from flowcraft.settings import Settings
from flowcraft.viewers import Viewer

SECRET = "a secret of at least thirty-two bytes"


class Ping(Event):
    """A number, and some weight."""

    n: int
    weight: str = ""


channels = Channels()
ping_update = channels.declare("ping_update", Ping)
latest_update = channels.declare("latest_update", Ping, conflate="weight")
private = channels.declare("private.{user}", Ping, params={"user": str})
long_named = channels.declare("a_channel_family_with_a_longish_name.{key}", Ping, params={"key": str})


@private.guard
async def only_oneself(viewer: Viewer, user: str) -> bool:
    return viewer.subject == user


@long_named.guard
async def anyone(viewer: Viewer, key: str) -> bool:
    return bool(viewer.subject and key)


class WatchedNode(Node):
    """A node that lets a test wait for the end of its connections."""

    def __init__(self, log: MemoryLog, settings: Settings, authorizer: Authorizer | None) -> None:
        wakeups, clock = MemoryWakeups(log), SystemClock()
        super().__init__(channels, log, wakeups, settings=settings, authorizer=authorizer, clock=clock)
        self._left = asyncio.Event()

    def disconnect(self, session: SessionId) -> None:
        super().disconnect(session)
        self._left.set()

    async def until_alone(self) -> None:
        """Wait until no client is connected."""
        async with asyncio.timeout(20):
            while self.report().connections:
                self._left.clear()
                await self._left.wait()


@dataclass
class Stage:
    """A node on a log in memory, and where it listens."""

    node: WatchedNode
    log: MemoryLog
    service: MemoryRealtimeService
    address: str
    server: uvicorn.Server | None = None

    async def ping(self, n: int, weight: str = "") -> None:
        await self.service.broadcast(ping_update, Ping(n=n, weight=weight))

    def http(self, path: str) -> str:
        return f"http://{urlsplit(self.address).netloc}{path}"


def make_node(settings: Settings, authorizer: Authorizer | None) -> tuple[WatchedNode, MemoryLog]:
    log = MemoryLog()
    return WatchedNode(log, settings, authorizer), log


@asynccontextmanager
async def dedicated(settings: Settings, authorizer: Authorizer | None) -> AsyncIterator[Stage]:
    node, log = make_node(settings, authorizer)
    server = Server(node, "127.0.0.1", 0)
    node.start()
    await node.until_accepting()
    await server.start()
    try:
        yield Stage(node, log, MemoryRealtimeService(log, node.broadcast_ephemeral), server.address)
    finally:
        await server.stop()
        await node.stop()


def on_uvicorn(ws: str, *, direct: bool = True, wrapped: bool = False) -> OpenStage:
    """Inside an ASGI application on uvicorn, with one of its implementations of WebSockets.

    `wrapped`: behind middleware that gives us a `send` of its own.
    """

    @asynccontextmanager
    async def stage(settings: Settings, authorizer: Authorizer | None) -> AsyncIterator[Stage]:
        node, log = make_node(settings, authorizer)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "websocket":
                await serve_websocket(scope, receive, send, node, direct=direct)
            else:
                await serve_event_stream(scope, receive, send, node)

        node.start()
        await node.until_accepting()
        service = MemoryRealtimeService(log, node.broadcast_ephemeral)
        try:
            async with uvicorn_with(wrapping(app) if wrapped else app, ws=ws) as (server, port):
                yield Stage(node, log, service, f"ws://127.0.0.1:{port}/realtime", server)
        finally:
            await node.stop()

    return stage


mounted = on_uvicorn("websockets-sansio")


def wrapping(app: AsgiApp) -> AsgiApp:
    """As Starlette has it: its middleware for exceptions wraps `send`."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        async def sender(message: MutableMapping[str, Any]) -> None:
            await send(message)

        await app(scope, receive, sender)

    return middleware


@asynccontextmanager
async def uvicorn_with(
    app: AsgiApp, *, ws: str = "auto", **options: Any
) -> AsyncIterator[tuple[uvicorn.Server, int]]:
    """uvicorn on a free port of its own, or on the socket that `uds` names."""
    listener = None if "uds" in options else socket.create_server(("127.0.0.1", 0))
    options = {"lifespan": "off", "log_level": "error", **options}
    with warnings.catch_warnings():  # one of its implementations is deprecated, and so are legacy websockets
        warnings.simplefilter("ignore")
        config = uvicorn.Config(app, ws=ws, **options)  # pyright: ignore[reportArgumentType]
        config.load()
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(None if listener is None else [listener]))
    await until(lambda: server.started or serving.done())
    try:
        yield server, 0 if listener is None else listener.getsockname()[1]
    finally:
        server.should_exit = True
        await serving


class Started:
    """A node that is started with its application."""

    def __init__(self, settings: Settings | None = None, authorizer: Authorizer | None = None) -> None:
        self.node, self.log = make_node(settings or QUICK, authorizer)
        self._runs = False

    async def start(self) -> Node:
        if not self._runs:
            self._runs = True
            self.node.start()
        return self.node

    async def stop(self) -> None:
        await self.node.drain()
        await self.node.stop()

    @property
    def by(self) -> tuple[int, int]:
        """Connections, and how many of them are written to by messages."""
        health = self.node.report()
        return health.connections, health.message_connections


OpenStage = Callable[[Settings, Authorizer | None], AbstractAsyncContextManager[Stage]]
QUICK = Settings(drain_seconds=0.01)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what this very loop makes true."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)
