"""An echo on one of the carriers, for the Autobahn cases: `python -m tests.carriers.echo PORT [CARRIER]`.

The carrier is the one that `flowcraft serve` has, or uvicorn with one of its libraries, direct or by
messages: `direct:wsproto`, `messages:websockets-sansio`. What it talks to sends every message back.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import uvicorn

from flowcraft.adapters.asgi import Receive, Scope, Send, serve_websocket
from flowcraft.adapters.request_socket import AcceptQueue
from flowcraft.adapters.websocket import WebSocketConnection
from flowcraft.carrier_ports import Connection, Entrance, GatewayPort
from flowcraft.core.bundles import Bundle
from flowcraft.core.counts import Counts
from flowcraft.settings import Settings

LARGEST_CASE = 16 * 1024 * 1024


class Echo:
    """A conversation that says what it hears."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    message_bytes = LARGEST_CASE

    def received(self, message: str) -> None:
        self._connection.try_send(Bundle((message.encode(),)).framed[self._connection.framing])

    def writable(self) -> None:
        pass

    def unresponsive(self) -> None:
        pass

    def closed(self) -> None:
        pass


class EchoReception:
    """Takes every connection."""

    settings = Settings(
        message_bytes=LARGEST_CASE,
        message_fragments=LARGEST_CASE,
        outbox_bytes=2 * LARGEST_CASE,
        any_origin=True,
    )
    accepting = True
    counts = Counts()

    def has_place_for(self, address: str) -> bool:
        return True

    def begin_drain(self, within: float | None = None) -> None:
        pass

    def connect(
        self,
        connection: Connection,
        channels: Sequence[str] = (),
        since: str | None = None,
        entrance: Entrance | None = None,
    ) -> GatewayPort:
        return Echo(connection)


async def mounted(port: int, way: str, library: str) -> None:
    """Serve on uvicorn until killed."""
    node = EchoReception()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await serve_websocket(scope, receive, send, node, direct=way == "direct")

    config = uvicorn.Config(app, port=port, ws=library, ws_max_size=LARGEST_CASE, lifespan="off")  # pyright: ignore[reportArgumentType]
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # uvicorn has no signal for it
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    await serving


async def main(port: int) -> None:
    """Serve until killed."""
    node, accept_queue = EchoReception(), AcceptQueue()
    server = await asyncio.get_running_loop().create_server(
        lambda: WebSocketConnection(node, "/", lambda _path, _headers: None, accept_queue), "127.0.0.1", port
    )
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    way, _, name = (sys.argv[2] if len(sys.argv) > 2 else "").partition(":")
    uvloop.run(mounted(int(sys.argv[1]), way, name) if way else main(int(sys.argv[1])))
