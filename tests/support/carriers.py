"""The carriers on real sockets: a node on a log in memory, served in each of the ways there are."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import uvicorn

from flowcraft.adapters.asgi import AsgiApp, Receive, Scope, Send, serve_websocket
from flowcraft.adapters.asgi_event_stream import serve_event_stream
from flowcraft.adapters.memory import MemoryLog, MemoryRealtimeService, MemoryWakeups
from flowcraft.adapters.uvicorn import WebSockets, give_back, take_over
from flowcraft.channels import Channels
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


@dataclass
class Stage:
    """A node on a log in memory, and where it listens."""

    node: Node
    log: MemoryLog
    service: MemoryRealtimeService
    address: str

    async def ping(self, n: int, weight: str = "") -> None:
        await self.service.broadcast(ping_update, Ping(n=n, weight=weight))

    def http(self, path: str) -> str:
        return f"http://{urlsplit(self.address).netloc}{path}"


def make_node(settings: Settings, authorizer: Authorizer | None) -> tuple[Node, MemoryLog]:
    log = MemoryLog()
    node = Node(
        channels, log, MemoryWakeups(log), settings=settings, authorizer=authorizer, clock=SystemClock()
    )
    return node, log


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


@asynccontextmanager
async def mounted(settings: Settings, authorizer: Authorizer | None) -> AsyncIterator[Stage]:
    node, log = make_node(settings, authorizer)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        serve = serve_websocket if scope["type"] == "websocket" else serve_event_stream
        await serve(scope, receive, send, node)

    async with on_uvicorn(node, log, app, "websockets-sansio") as (stage, _):
        yield stage


@asynccontextmanager
async def in_uvicorn(settings: Settings, authorizer: Authorizer | None) -> AsyncIterator[Stage]:
    """As somebody has it who names our class to uvicorn, and whose first client has come and gone."""
    node, log = make_node(settings, authorizer)
    try:
        async with on_uvicorn(node, log, nobody, WebSockets) as (stage, port):
            take_over((port, "/realtime"), node, node.drain)
            yield stage
    finally:
        give_back(node)


@asynccontextmanager
async def on_uvicorn(
    node: Node, log: MemoryLog, app: AsgiApp, ws: type[asyncio.Protocol] | str
) -> AsyncIterator[tuple[Stage, int]]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error", ws=ws))
    node.start()
    await node.until_accepting()
    serving = asyncio.create_task(server.serve([listener]))
    port: int = listener.getsockname()[1]
    service = MemoryRealtimeService(log, node.broadcast_ephemeral)
    try:
        yield Stage(node, log, service, f"ws://127.0.0.1:{port}/realtime"), port
    finally:
        server.should_exit = True
        await serving
        await node.stop()


async def nobody(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that nothing is to come to."""
    raise AssertionError(f"{scope['type']} {scope['path']}")


OpenStage = Callable[[Settings, Authorizer | None], AbstractAsyncContextManager[Stage]]
QUICK = Settings(drain_seconds=0.01)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what this very loop makes true."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)
