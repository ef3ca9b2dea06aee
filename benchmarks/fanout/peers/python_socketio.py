"""python-socketio on uvicorn, WebSockets only: `emit` to everybody."""

from __future__ import annotations

import socketio

from benchmarks.fanout.control import message
from benchmarks.fanout.on_uvicorn import serve

server = socketio.AsyncServer(
    async_mode="asgi", transports=["websocket"], cors_allowed_origins="*", ping_interval=600
)


async def go(count: int) -> None:
    """Send so many messages to everybody."""
    for number in range(count):
        await server.emit("bench_update", message(number))


if __name__ == "__main__":
    import uvloop

    app = socketio.ASGIApp(server)
    uvloop.run(serve(app, go))
