"""The `websockets` library and its `broadcast`."""

from __future__ import annotations

import logging

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

from benchmarks.fanout.control import message, obey, ports

connections: set[ServerConnection] = set()


async def take(connection: ServerConnection) -> None:
    """Keep a connection for as long as it lasts."""
    connections.add(connection)
    try:
        await connection.wait_closed()
    finally:
        connections.discard(connection)


def go(count: int) -> None:
    """Send so many messages to everybody."""
    for number in range(count):
        broadcast(connections, message(number))


async def main() -> None:
    """Serve until the orders end."""
    logging.disable()
    port, control = ports()
    async with serve(take, "127.0.0.1", port, compression=None, ping_interval=None, backlog=4096):
        await obey(control, go)


if __name__ == "__main__":
    uvloop.run(main())
