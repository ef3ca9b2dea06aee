"""Serve: the dedicated server, a WebSocket and two health pages on one port."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine

import msgspec

from flowcraft.adapters.websocket import HttpAnswer, WebSocketConnection
from flowcraft.entrypoints.compose import Realtime
from flowcraft.runtime.node import Node

logger = logging.getLogger("flowcraft")


def health_pages(node: Node) -> Callable[[str], HttpAnswer | None]:
    """Return the pages beside the WebSocket: `/healthz` (the process is alive), `/readyz` (it can serve)."""

    def page(path: str) -> HttpAnswer | None:
        if path == "/healthz":
            return 200, "text/plain; charset=utf-8", "ok\n"
        if path == "/readyz":
            health = node.health()
            body = msgspec.json.encode(health).decode() + "\n"
            return (200 if health.ready else 503), "application/json", body
        return None

    return page


class Server:
    """A listening socket for one node. `port` 0 takes a free one; `address` tells which."""

    def __init__(self, node: Node, host: str, port: int, path: str = "/realtime") -> None:
        self._node = node
        self._host = host
        self._port = port
        self._path = path
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """The WebSocket's address."""
        assert self._server is not None, "start the server first"
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"ws://{f'[{host}]' if ':' in host else host}:{port}{self._path}"

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the port is taken, or may not be used.
        """
        pages = health_pages(self._node)
        self._server = await asyncio.get_running_loop().create_server(
            lambda: WebSocketConnection(self._node, self._path, pages),
            self._host,
            self._port,
            backlog=self._node.settings.listen_backlog,
            reuse_address=True,
        )

    async def stop(self) -> None:
        """Take no more connections and send the present ones away, to resume elsewhere or later."""
        assert self._server is not None
        await self._node.drain()
        self._server.close()


def serve(realtime: Realtime, host: str, port: int, *, announce: Callable[[str], None] = print) -> None:
    """Serve until SIGTERM or SIGINT; `announce` is told the address once it listens.

    A database that is away is waited for: `/readyz` says so, and connections are refused with 503 meanwhile.

    Raises:
        OSError: the port is taken, or may not be used.
    """
    _runner()(_serve(realtime, host, port, announce))


async def _serve(realtime: Realtime, host: str, port: int, announce: Callable[[str], None]) -> None:
    node = await realtime.start()
    server = Server(node, host, port)
    try:
        await server.start()
        announce(server.address)
        await _until_told_to_stop()
        await server.stop()
    finally:
        await realtime.stop()


def _runner() -> Callable[[Coroutine[object, object, None]], None]:
    try:
        import uvloop
    except ImportError:  # it does not exist for Windows
        return asyncio.run
    return uvloop.run


async def _until_told_to_stop() -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    await told.wait()
