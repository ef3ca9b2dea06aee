"""Ours on uvicorn's port: with our class for WebSockets (`class`), or as an ASGI application (`asgi`)."""

from __future__ import annotations

import sys

from benchmarks.fanout.control import ports
from benchmarks.fanout.on_uvicorn import serve
from benchmarks.fanout.ours.dedicated import commit, running_node
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


async def main(how: str) -> None:
    """Serve until the orders end."""
    port, _ = ports()
    log = MemoryLog()
    node = await running_node(log)
    if how == "class":  # of its first clients, which come all at once here, a few would be uvicorn's
        take_over((port, "/realtime"), node, node.drain)
    await serve(
        RealtimeApp(Started(node), None, "/realtime"),
        lambda count: commit(log, count),
        ws=WebSockets if how == "class" else "websockets-sansio",
    )


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(sys.argv[3]))
