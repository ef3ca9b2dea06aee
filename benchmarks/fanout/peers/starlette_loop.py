"""What most tutorials do: Starlette on uvicorn, a list of sockets, `await send_text` in a loop."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from benchmarks.fanout.control import message
from benchmarks.fanout.on_uvicorn import serve

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


app = Starlette(routes=[WebSocketRoute("/", take)])

if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(app, go))
