"""Ours on uvicorn's port: with our class for WebSockets (`class`), or as an ASGI application (`asgi`)."""

from __future__ import annotations

import asyncio
import sys

import uvicorn

from benchmarks.fanout.control import obey, ports
from benchmarks.fanout.ours.dedicated import commit, node_on
from flowcraft.adapters.memory import MemoryLog
from flowcraft.adapters.uvicorn import WebSockets, take_over
from flowcraft.entrypoints.asgi import RealtimeApp
from flowcraft.runtime.node import Node


class Started:
    """A node that runs already."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def start(self) -> Node:
        return self._node

    async def stop(self) -> None:
        await self._node.stop()


async def main() -> None:
    """Serve until the orders end."""
    port, control = ports()
    log = MemoryLog()
    node = node_on(log)
    node.start()
    await node.until_accepting()
    app = RealtimeApp(Started(node), None, "/realtime")
    if sys.argv[3] == "class":  # of its first clients, which come all at once here, a few would be uvicorn's
        take_over((port, "/realtime"), node, node.drain)
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        log_level="error",
        backlog=4096,
        ws=WebSockets if sys.argv[3] == "class" else "websockets-sansio",
        ws_ping_interval=None,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # it has no event for this
        await asyncio.sleep(0.01)
    await obey(control, lambda count: commit(log, count))
    server.should_exit = server.force_exit = True
    await serving


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
