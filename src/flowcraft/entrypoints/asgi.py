"""The ASGI application: WebSockets and health for a node, everything else for the application around it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import MutableMapping
from typing import Any, Protocol

import msgspec

from flowcraft.adapters.asgi import AsgiApp, Receive, Scope, Send, answer_http, serve_websocket
from flowcraft.adapters.asgi_event_stream import serve_event_stream
from flowcraft.adapters.uvicorn import give_back, take_over
from flowcraft.core import event_stream
from flowcraft.runtime.node import Node

_FIRST_READ_SECONDS = 2.0


class Startable(Protocol):
    """What serves: it is started with the application, or by the first connection, and stopped with it."""

    async def start(self) -> Node: ...

    async def stop(self) -> None: ...


class RealtimeApp:
    """Serves WebSockets at `path`, and event streams, `/healthz` and `/readyz` below it.

    Wrapped around an application it starts and stops with it (the `lifespan` of ASGI). Mounted inside one,
    where frameworks do not pass that on, it starts with the first connection and ends with the event loop.
    """

    def __init__(self, realtime: Startable, app: AsgiApp | None, path: str) -> None:
        self._realtime = realtime
        self._app = app
        self._path = path.rstrip("/")
        self._node: Node | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif not self._is_ours(scope):
            assert self._app is not None
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            node = await self._ready()
            server = scope.get("server")
            if server is not None:  # what comes next need not come through here, if uvicorn has our class
                host, port = server  # of a Unix socket it is the path and None
                take_over((host if port is None else port, scope["path"]), node, node.drain)
            await serve_websocket(scope, receive, send, node)
        elif scope["path"].endswith(event_stream.BELOW):
            await serve_event_stream(scope, receive, send, await self._ready())
        else:
            await self._tell_health(scope["path"], send)

    async def _ready(self) -> Node:
        node = self._node = await self._realtime.start()
        with contextlib.suppress(TimeoutError):  # then clients are refused with 503
            await asyncio.wait_for(node.until_accepting(), _FIRST_READ_SECONDS)
        return node

    def _is_ours(self, scope: Scope) -> bool:
        if self._app is None:
            return True
        path: str = scope["path"]
        if scope["type"] == "websocket":
            return path.rstrip("/") == self._path
        return path in {f"{self._path}{below}" for below in ("/healthz", "/readyz", event_stream.BELOW)}

    async def _tell_health(self, path: str, send: Send) -> None:
        if path.endswith("/healthz"):
            await answer_http(send, 200, "ok\n", "text/plain; charset=utf-8")
        elif path.endswith("/readyz"):
            health = (await self._realtime.start()).health()
            body = msgspec.json.encode(health).decode() + "\n"
            await answer_http(send, 200 if health.ready else 503, body, "application/json")
        else:
            await answer_http(send, 426, "this is a WebSocket\n", "text/plain; charset=utf-8")

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def watch() -> MutableMapping[str, Any]:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self._realtime.start()
            elif message["type"] == "lifespan.shutdown":
                await self._stop()
            return message

        if self._app is None:
            await _answer_lifespan(watch, send)
            return
        try:
            await self._app(scope, watch, send)
        finally:
            await asyncio.shield(self._stop())

    async def _stop(self) -> None:
        if self._node is not None:
            give_back(self._node)
        await self._realtime.stop()


async def _answer_lifespan(receive: Receive, send: Send) -> None:
    for stage in ("startup", "shutdown"):
        message = await receive()
        assert message["type"] == f"lifespan.{stage}"
        await send({"type": f"lifespan.{stage}.complete"})
