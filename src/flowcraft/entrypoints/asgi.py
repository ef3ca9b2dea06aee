"""The ASGI application: WebSockets and health for a node, everything else for the application around it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Protocol

import msgspec

from flowcraft.adapters import stream_requests
from flowcraft.adapters.asgi import AsgiApp, Scope, Send, answer_http, serve_websocket
from flowcraft.adapters.asgi_event_stream import serve_event_stream
from flowcraft.entrypoints.lifespan import Lifespan
from flowcraft.entrypoints.metrics import metrics_page
from flowcraft.runtime.node import Node

_FIRST_READ_SECONDS = 2.0


class Startable(Protocol):
    """What serves: it is started with the application, or by the first connection, and stopped with it."""

    async def start(self) -> Node: ...

    async def stop(self) -> None: ...


class RealtimeApp:
    """Serves WebSockets at `path`, and event streams, `/healthz`, `/readyz` and `/metrics` below it.

    Wrapped around an application it starts and stops with it (the `lifespan` of ASGI). Mounted inside one,
    where frameworks do not pass that on, it starts with the first connection and ends with the event loop.
    """

    def __init__(self, realtime: Startable, app: AsgiApp | None, path: str, *, direct: bool = True) -> None:
        self._realtime = realtime
        self._app = app
        self._path = path.rstrip("/")
        self._direct = direct

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  # see AsgiApp
        if scope["type"] == "lifespan":
            await Lifespan(receive, send, start=self._realtime.start, stop=self._realtime.stop).run(
                self._app, scope
            )
        elif not self._is_ours(scope):
            assert self._app is not None
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            node = await self._ready()
            await serve_websocket(scope, receive, send, node, direct=self._direct)
        elif scope["path"].rstrip("/").endswith(stream_requests.BELOW):
            await serve_event_stream(scope, receive, send, await self._ready())
        else:
            await self._tell_health(scope["path"].rstrip("/"), send)

    async def _ready(self) -> Node:
        node = await self._realtime.start()
        with contextlib.suppress(TimeoutError):  # then clients are refused with 503
            await asyncio.wait_for(node.until_accepting(), _FIRST_READ_SECONDS)
        return node

    def _is_ours(self, scope: Scope) -> bool:
        if self._app is None:
            return True
        path = _path_inside(scope)
        if scope["type"] == "websocket":
            return path.rstrip("/") == self._path
        pages = ("/healthz", "/readyz", "/metrics", stream_requests.BELOW)
        return path in {f"{self._path}{below}" for below in pages}

    async def _tell_health(self, path: str, send: Send) -> None:
        if path.endswith("/healthz"):
            await answer_http(send, 200, "ok\n", "text/plain; charset=utf-8")
        elif path.endswith("/readyz"):
            health = (await self._realtime.start()).report()
            body = msgspec.json.encode(health).decode() + "\n"
            await answer_http(send, 200 if health.ready else 503, body, "application/json")
        elif path.endswith("/metrics"):
            status, content_type, body = metrics_page(await self._realtime.start())
            await answer_http(send, status, body, content_type)
        else:
            await answer_http(send, 426, "this is a WebSocket\n", "text/plain; charset=utf-8")


def _path_inside(scope: Scope) -> str:
    """The path below the one that the server says we are at: `--root-path` of uvicorn."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return path.removeprefix(root) if path.startswith(f"{root}/") else path
