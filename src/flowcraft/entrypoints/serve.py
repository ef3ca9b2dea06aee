"""Serve: the dedicated server, a WebSocket and the pages about its health on one port."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec

from flowcraft.adapters.accept_queue import AcceptQueue
from flowcraft.adapters.websocket import HttpAnswer, WebSocketConnection
from flowcraft.entrypoints.compose import Realtime
from flowcraft.entrypoints.metrics import metrics_page
from flowcraft.entrypoints.open_files import SPARE_FILES, allow_files
from flowcraft.runtime.node import Node
from flowcraft.settings import Settings

logger = logging.getLogger(__name__)


def health_pages(node: Node) -> Callable[[str], HttpAnswer | None]:
    """Return the pages beside the WebSocket: `/healthz` (it lives), `/readyz` (it can serve), `/metrics`."""

    def page(path: str) -> HttpAnswer | None:
        if path == "/healthz":
            return 200, "text/plain; charset=utf-8", "ok\n"
        if path == "/readyz":
            health = node.report()
            body = msgspec.json.encode(health).decode() + "\n"
            return (200 if health.ready else 503), "application/json", body
        if path == "/metrics":
            return metrics_page(node)
        return None

    return page


class Server:
    """Listening sockets for one node. `port` 0 takes a free one; `address` tells which.

    With `sockets`, which are bound, those are listened on instead.
    """

    def __init__(
        self,
        node: Node,
        host: str = "",
        port: int = 0,
        path: str = "/realtime",
        *,
        sockets: Sequence[socket.socket] = (),
    ) -> None:
        self._node = node
        self._host = host
        self._port = port
        self._path = path
        self._sockets = sockets
        self._servers: list[asyncio.Server] = []
        self._accept_queue = AcceptQueue()

    @property
    def address(self) -> str:
        """The WebSocket's address."""
        assert self._servers, "start the server first"
        return address_of(self._servers[0].sockets[0].getsockname(), self._path)

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the port is taken, or may not be used.
        """
        loop = asyncio.get_running_loop()
        backlog = self._node.settings.listen_backlog
        for sock in self._sockets:
            self._servers.append(await loop.create_server(self._carrier, sock=sock, backlog=backlog))
        if not self._sockets:
            listening = await loop.create_server(
                self._carrier, self._host, self._port, backlog=backlog, reuse_address=True
            )
            self._servers.append(listening)

    def close(self) -> None:
        """Take no more connections; the present ones go on."""
        for server in self._servers:
            server.close()

    async def stop(self) -> None:
        """Take no more connections and send the present ones away, to resume elsewhere or later."""
        self.close()
        await self._node.drain()

    def _carrier(self) -> WebSocketConnection:
        return WebSocketConnection(self._node, self._path, health_pages(self._node), self._accept_queue)


def address_of(name: tuple[Any, ...], path: str = "/realtime") -> str:
    """Return the address of the WebSocket on a socket of this name."""
    host, port = name[:2]
    return f"ws://{f'[{host}]' if ':' in host else host}:{port}{path}"


def serve(realtime: Realtime, host: str, port: int, *, announce: Callable[[str], None] = print) -> None:
    """Serve until SIGTERM or SIGINT; `announce` is told the address once it listens.

    A database that is away is waited for: `/readyz` says so, and connections are refused with 503 meanwhile.

    Raises:
        OSError: the port is taken, or may not be used.
    """
    allow_clients(realtime.settings)
    log_limits(realtime.settings)
    run(_serve(realtime, host, port, announce))


async def _serve(realtime: Realtime, host: str, port: int, announce: Callable[[str], None]) -> None:
    told = stop_signal()
    node = await realtime.start()
    server = Server(node, host, port)
    try:
        await server.start()
        announce(server.address)
        await told.wait()
        await server.stop()
    finally:
        await realtime.stop()


def run(work: Coroutine[object, object, None]) -> None:
    """Run in the fastest event loop there is."""
    try:
        import uvloop
    except ImportError:  # it does not exist for Windows
        asyncio.run(work)
    else:
        uvloop.run(work)


def stop_signal() -> asyncio.Event:
    """Return what SIGTERM and SIGINT set from now on."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    return told


def allow_clients(settings: Settings) -> None:
    """Open as many files as clients may come; say so if the system allows fewer."""
    wanted = settings.connections + SPARE_FILES
    allowed = allow_files(wanted)
    if allowed < wanted:
        logger.warning(
            "connections=%d needs %d open files, and %d are allowed: raise the hard limit (ulimit -Hn)",
            *(settings.connections, wanted, allowed),
        )


def log_limits(settings: Settings) -> None:
    """Say which limits are in force."""
    limits = ", ".join(f"{name}={getattr(settings, name)!r}" for name in settings.__struct_fields__)
    logger.info("limits in force: %s", limits)
