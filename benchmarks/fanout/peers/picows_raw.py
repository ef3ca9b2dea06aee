"""picows and nothing else: the fastest WebSocket library for Python, without a hub, a protocol or a log."""

from __future__ import annotations

import logging

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from benchmarks.fanout.control import message, obey, ports

transports: set[WSTransport] = set()


class Listener(WSListener):
    """Keeps a connection for as long as it lasts."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        transports.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        transports.discard(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()


def take(_: WSUpgradeRequest) -> Listener:
    return Listener()


def go(count: int) -> None:
    """Send so many messages to everybody."""
    for number in range(count):
        data = message(number).encode()
        for transport in transports:
            transport.send(WSMsgType.TEXT, data)


async def main() -> None:
    """Serve until the orders end."""
    logging.disable()
    port, control = ports()
    server = await ws_create_server(take, "127.0.0.1", port, backlog=4096, read_buffer_init_size=2048)
    async with server:
        await obey(control, go)


if __name__ == "__main__":
    uvloop.run(main())
