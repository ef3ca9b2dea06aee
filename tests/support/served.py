"""A `Realtime` object on the dedicated server, and the frames that a client receives of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection

from flowcraft import Realtime
from flowcraft.entrypoints.serve import Server
from flowcraft.runtime.node import Node

SECONDS = 20
"""The longest wait for a frame."""


@asynccontextmanager
async def served(realtime: Realtime) -> AsyncIterator[tuple[Node, str]]:
    """Serve; yield the node and the address of its WebSocket."""
    node = await realtime.start()
    server = Server(node, "127.0.0.1", 0)
    await node.until_accepting()
    await server.start()
    try:
        yield node, server.address
    finally:
        await server.stop()


async def until(client: ClientConnection, member: str) -> dict[str, Any]:
    """Return the next frame that has a member."""
    async with asyncio.timeout(SECONDS):
        while True:
            frame: dict[str, Any] = json.loads(await client.recv())
            if member in frame:
                return frame
