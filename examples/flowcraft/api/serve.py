"""Serving the API with uvicorn, in an event loop that others share."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp

HOST = "127.0.0.1"


def bind(port: int) -> socket.socket:
    """Take a port. Port 0 takes any free one.

    Raises:
        OSError: it is in use, or may not be used.
    """
    taken = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((HOST, port))
    except OSError:
        taken.close()
        raise
    return taken


@asynccontextmanager
async def serving(app: ASGIApp, at: socket.socket) -> AsyncIterator[None]:
    """Serve within the block, and send everybody away at its end."""
    config = uvicorn.Config(
        app,
        lifespan="on",  # what cannot start must not serve
        ws="websockets-sansio",
        ws_max_size=65_536,
        ws_per_message_deflate=False,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[at]))
    try:
        while not server.started and not task.done():  # noqa: ASYNC110  # uvicorn offers nothing to wait for
            await asyncio.sleep(0.02)
        yield
    finally:
        server.should_exit = True
        await task


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signal handling to the process that runs this server."""
        yield
