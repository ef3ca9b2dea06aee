"""The ASGI application: WebSockets, event streams and health pages of a node, around another application."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from typing import Any, Protocol

from flowcraft.adapters import server_sent
from flowcraft.adapters.asgi import (
    AsgiApp,
    Scope,
    Send,
    answer_options,
    answer_request,
    check_head,
    headers_of,
    path_of,
    serve_websocket,
)
from flowcraft.adapters.asgi_event_stream import serve_event_stream
from flowcraft.adapters.handshake import Refused, method_not_allowed
from flowcraft.adapters.http import METHODS, HttpAnswer, normal_path
from flowcraft.adapters.hypercorn import HypercornWorker
from flowcraft.adapters.rfc6455 import UPGRADE_REQUIRED
from flowcraft.entrypoints import pages
from flowcraft.entrypoints.lifespan import Lifespan
from flowcraft.entrypoints.stop_signals import stop_signals
from flowcraft.runtime.node import Node
from flowcraft.settings import Settings

_FIRST_READ_SECONDS = 2.0
"""The first connection waits this long for the first read of the log; then it is refused with 503."""
_WEBSOCKET = ""
_BELOW = (*pages.PATHS, server_sent.PATH)
"""Our paths below that of the WebSocket."""


class Startable(Protocol):
    """Starts and stops with the application; the first connection starts it as well."""

    async def start(self) -> Node: ...

    async def stop(self) -> None: ...


class RealtimeApp:
    """Serves WebSockets at `path`, and event streams, `/healthz`, `/readyz` and `/metrics` below it.

    Wrapped around an application it starts and stops with that application (the `lifespan` of ASGI). Mounted
    inside one, where frameworks do not pass `lifespan` on, it starts with the first connection and ends with
    the event loop.
    """

    def __init__(
        self,
        realtime: Startable,
        app: AsgiApp | None,
        path: str,
        *,
        direct: bool = True,
        settings: Settings | None = None,
    ) -> None:
        self._realtime = realtime
        self._app = app
        self._path = path.rstrip("/")
        self._direct = direct
        self._settings = settings or Settings()
        self._hypercorn: HypercornWorker | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  # see AsgiApp
        if scope["type"] == "lifespan":
            await Lifespan(receive, send, start=self._realtime.start, stop=self._realtime.stop).run(
                self._app, scope
            )
            return
        below = self._path_below(scope)
        if below is None:
            assert self._app is not None
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            node = await self._first_read(send)
            await serve_websocket(scope, receive, send, node, direct=self._direct)
        elif below == server_sent.PATH:
            await serve_event_stream(scope, receive, send, await self._first_read(send))
        else:
            await self._answer(scope, send, below)

    async def _answer(self, scope: Scope, send: Send, below: str) -> None:
        """Answer a request for a page, or one for the WebSocket that is no handshake."""
        headers = headers_of(scope)
        answer: HttpAnswer | Refused | None = check_head(scope, headers)
        if scope["method"] == "OPTIONS":
            await answer_options(scope, send, METHODS, self._settings)
            return
        if scope["method"] not in METHODS:
            answer = method_not_allowed(METHODS)
        answer = answer or await pages.page_of_mount(below, headers, self._realtime.start) or UPGRADE_REQUIRED
        await answer_request(scope, send, answer, self._settings)

    async def _first_read(self, send: Send) -> Node:
        """Return the node once it has read the log, or after a while without: then it refuses clients."""
        node = await self._realtime.start()
        await stop_signals.watch(node)
        self._watch_hypercorn(node, send)
        if not node.accepting:  # to wait makes a task and a timer, even for nothing
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(node.until_accepting(), _FIRST_READ_SECONDS)
        return node

    def _watch_hypercorn(self, node: Node, send: Send) -> None:
        worker = HypercornWorker.find(send)
        if worker is not None and worker != self._hypercorn:
            self._hypercorn = worker
            node.supervisor.spawn(_drain_with(worker, node), "drain with Hypercorn")

    def _path_below(self, scope: Scope) -> str | None:
        """Return the path below the WebSocket's; None if the request is the application's."""
        if self._app is None:
            # Frameworks differ in whether a mounted application sees the whole path, so its end decides.
            path = normal_path(path_of(scope))
            return next((below for below in _BELOW if path.endswith(below)), _WEBSOCKET)
        path = normal_path(_path_inside(scope))
        if scope["type"] == "websocket":
            return _WEBSOCKET if path == (self._path or "/") else None
        if path == (self._path or "/") and "sec-websocket-key" in headers_of(scope):
            return _WEBSOCKET  # a handshake without its Upgrade, which a proxy has not passed on
        return next((below for below in _BELOW if path == self._path + below), None)


async def _drain_with(worker: HypercornWorker, node: Node) -> None:
    await worker.wait()
    if threading.current_thread() is threading.main_thread():
        # Its main process sends SIGTERM to all workers when the first has ended; nothing handles it here.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    node.begin_drain(worker.graceful_seconds / 2)


def _path_inside(scope: Scope) -> str:
    """Return the path without the prefix at which the server serves us: `--root-path` of uvicorn."""
    path = path_of(scope)
    root: str = scope.get("root_path", "").rstrip("/")
    return path.removeprefix(root) if path.startswith(f"{root}/") else path
