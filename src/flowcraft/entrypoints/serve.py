"""Serve: the dedicated server, with WebSockets, event streams and health pages on one port."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from types import FrameType
from typing import Any

from flowcraft.adapters.request_socket import AcceptQueue
from flowcraft.adapters.sockets import limit_send_buffer
from flowcraft.adapters.websocket import WebSocketConnection
from flowcraft.entrypoints.open_files import SPARE_FILES, allow_files
from flowcraft.entrypoints.pages import page
from flowcraft.entrypoints.realtime import Realtime
from flowcraft.runtime.node import Node
from flowcraft.settings import Settings

logger = logging.getLogger(__name__)


class Server:
    """Listening sockets for one node.

    With `port` 0 the kernel chooses a free port, and `address` names it. With `sockets`, which are bound
    already, the server listens on those instead.
    """

    def __init__(
        self,
        node: Node,
        host: str = "",
        port: int = 0,
        path: str = "/realtime",
        *,
        sockets: Sequence[socket.socket] = (),
        admin_port: int | None = None,
    ) -> None:
        self._node = node
        self._host = host
        self._port = port
        self._path = path
        self._sockets = sockets
        self._admin_port = admin_port
        self._servers: list[asyncio.Server] = []
        self._pages, self._admin_pages = (
            partial(page, node=node, is_admin_port=is_admin_port) for is_admin_port in (False, True)
        )
        accept_queue = AcceptQueue(has_limited_buffers=True)
        self._carrier, self._admin_carrier = (
            partial(WebSocketConnection, node, path, shown, accept_queue)
            for shown in (self._pages, self._admin_pages)
        )

    @property
    def address(self) -> str:
        """The WebSocket's address."""
        assert self._servers, "start the server first"
        return address_of(self._servers[0].sockets[0].getsockname(), self._path)

    @property
    def admin_address(self) -> tuple[str, int]:
        """Host and port of the admin port."""
        host, port = self._servers[-1].sockets[0].getsockname()[:2]
        return host, port

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the port is taken, or may not be used.
        """
        loop = asyncio.get_running_loop()
        backlog = self._node.settings.listen_backlog
        listen = partial(loop.create_server, start_serving=False)
        for sock in self._sockets:
            self._servers.append(await listen(self._carrier, sock=sock, backlog=backlog))
        if not self._sockets:
            listening = await listen(
                self._carrier, self._host, self._port, backlog=backlog, reuse_address=True
            )
            self._servers.append(listening)
        if self._admin_port is not None:
            admin = await listen(self._admin_carrier, self._host, self._admin_port, reuse_address=True)
            self._servers.append(admin)
        for server in self._servers:
            for sock in server.sockets:
                limit_send_buffer(sock)
            await server.start_serving()

    def close(self) -> None:
        """Accept no more connections; the connected clients stay."""
        for server in self._servers:
            server.close()

    async def stop(self) -> None:
        """Accept no more connections and drain the connected clients, which resume elsewhere or later."""
        self.close()
        await self._node.drain()


def address_of(name: tuple[Any, ...], path: str = "/realtime") -> str:
    """Return the address of the WebSocket on a socket of this name."""
    host, port = name[:2]
    return f"ws://{f'[{host}]' if ':' in host else host}:{port}{path}"


def serve(
    realtime: Realtime,
    host: str,
    port: int,
    *,
    announce: Callable[[str], None] = print,
    admin_port: int | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; `announce` is called with the address once the server listens.

    While the database is away the server waits for it: `/readyz` and new connections are answered with 503.

    Raises:
        OSError: the port is taken, or may not be used.
    """
    allow_clients(realtime.settings)
    log_limits(realtime.settings)
    run(_serve(realtime, host, port, announce, admin_port))


async def _serve(
    realtime: Realtime, host: str, port: int, announce: Callable[[str], None], admin_port: int | None
) -> None:
    stopped = stop_signal()
    node = await realtime.start()
    server = Server(node, host, port, admin_port=admin_port)
    try:
        await server.start()
        announce(server.address)
        await stopped.wait()
        await server.stop()
    finally:
        await realtime.stop()


def run(work: Coroutine[object, object, None]) -> None:
    """Run in uvloop, or in asyncio's own event loop where uvloop is not installed."""
    try:
        import uvloop
    except ImportError:  # uvloop does not support Windows
        asyncio.run(work)
    else:
        uvloop.run(work)


def stop_signal() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set from now on."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    def received(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(stopped.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, stopped.set)
        except NotImplementedError:  # no event loop of Windows handles signals
            signal.signal(number, received)
    return stopped


def allow_clients(settings: Settings) -> None:
    """Raise the limit of open files to what the clients need; log a warning if the system allows fewer."""
    wanted = settings.connections + SPARE_FILES
    allowed = allow_files(wanted)
    if allowed < wanted:
        logger.warning(
            "connections=%d needs %d open files, and %d are allowed: raise the hard limit (ulimit -Hn)",
            *(settings.connections, wanted, allowed),
        )


def log_limits(settings: Settings) -> None:
    """Log the settings in force."""
    limits = ", ".join(f"{name}={getattr(settings, name)!r}" for name in settings.__struct_fields__)
    logger.info("limits in force: %s", limits)
