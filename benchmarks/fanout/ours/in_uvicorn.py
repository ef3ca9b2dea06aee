"""Ours in an ASGI application on uvicorn, as `uvicorn app:app` serves it; `messages` turns the socket off."""

from __future__ import annotations

import sys

from benchmarks.fanout.on_uvicorn import serve
from benchmarks.fanout.ours.dedicated import commit, running_node
from flowcraft.adapters.memory import MemoryLog
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
    log = MemoryLog()
    node = await running_node(log)
    await serve(
        RealtimeApp(Started(node), None, "/realtime", direct=how != "messages"),
        lambda count: commit(log, count),
    )


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(sys.argv[3]))
