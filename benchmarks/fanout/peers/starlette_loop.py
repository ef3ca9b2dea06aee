"""What most tutorials do: Starlette on uvicorn, a list of sockets, `await send_text` in a loop."""

from __future__ import annotations

import asyncio

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from benchmarks.fanout.control import message, obey, ports

sockets: list[WebSocket] = []


async def take(socket: WebSocket) -> None:
    """Keep a socket for as long as it lasts."""
    await socket.accept()
    sockets.append(socket)
    try:
        while True:
            await socket.receive_text()
    except WebSocketDisconnect:
        sockets.remove(socket)


async def go(count: int) -> None:
    """Send so many messages to everybody."""
    for number in range(count):
        text = message(number)
        for socket in sockets:
            await socket.send_text(text)


async def main() -> None:
    """Serve until the orders end."""
    port, control = ports()
    app = Starlette(routes=[WebSocketRoute("/", take)])
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_level="critical", backlog=4096, ws_ping_interval=None
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # it has no event for this
        await asyncio.sleep(0.01)
    await obey(control, go)
    server.should_exit = server.force_exit = True
    await serving


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
