"""python-socketio on uvicorn, WebSockets only: `emit` to everybody."""

from __future__ import annotations

import asyncio

import socketio
import uvicorn

from benchmarks.fanout.control import message, obey, ports

server = socketio.AsyncServer(
    async_mode="asgi", transports=["websocket"], cors_allowed_origins="*", ping_interval=600
)


async def go(count: int) -> None:
    """Send so many messages to everybody."""
    for number in range(count):
        await server.emit("bench_update", message(number))


async def main() -> None:
    """Serve until the orders end."""
    port, control = ports()
    app = socketio.ASGIApp(server)
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_level="critical", backlog=4096, ws_ping_interval=None
    )
    serving = uvicorn.Server(config)
    task = asyncio.create_task(serving.serve())
    while not serving.started:  # noqa: ASYNC110  # it has no event for this
        await asyncio.sleep(0.01)
    await obey(control, go)
    serving.should_exit = serving.force_exit = True
    await task


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
