"""A program: a server in miniature, which handles stop signals in one of the ways that servers do.

It carries an event stream and a WebSocket of ours in this process, writes what they send, and how it stops.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import MutableMapping
from typing import Any

import uvloop

from flowcraft.entrypoints.asgi import RealtimeApp
from flowcraft.settings import Settings
from tests.support.carriers import Started

how, loop_name, drain_seconds = sys.argv[1:]
started = Started(Settings(drain_seconds=float(drain_seconds)))
app = RealtimeApp(started, None, "/live")


def report(*words: object) -> None:
    """Write a line for the test. Not by `print`, in whose midst a signal's handler must not print."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def websocket() -> None:
    """Be the client and the server of one WebSocket."""
    messages: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
    messages.put_nowait({"type": "websocket.connect"})

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "websocket.send":
            report("websocket", *json.loads(message["text"]))
        elif message["type"] == "websocket.close":
            report("websocket closed", message["code"])
            messages.put_nowait({"type": "websocket.disconnect"})

    scope: dict[str, Any] = {
        "type": "websocket",
        "path": "/live",
        "headers": [],
        "query_string": b"channel=ping_update",
    }
    await app(scope, messages.get, send)


async def stream() -> None:
    """Be the client and the server of one event stream."""
    requests = iter([{"type": "http.request", "body": b""}])

    async def receive() -> MutableMapping[str, Any]:
        return next(requests, None) or await asyncio.Future[MutableMapping[str, Any]]()

    async def send(message: MutableMapping[str, Any]) -> None:
        for line in message.get("body", b"").decode().splitlines():
            if line.startswith("data: "):
                report("stream", *json.loads(line.removeprefix("data: ")))

    scope: dict[str, Any] = {
        "type": "http", "method": "GET", "path": "/live/events", "headers": [],
        "query_string": b"channel=ping_update",
    }  # fmt: skip
    await app(scope, receive, send)


def handle_signals(stop: asyncio.Event) -> None:
    """Handle them by a function of the loop, or by one of Python."""
    loop = asyncio.get_running_loop()

    def by_python(number: int, _frame: object) -> None:
        report("python's handler", number)
        loop.call_soon_threadsafe(stop.set)

    def by_loop(number: int) -> None:
        report("loop's handler", number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        if how == "loop":
            loop.add_signal_handler(number, by_loop, int(number))
        elif how == "python":
            signal.signal(number, by_python)
    if how == "loop":  # one that is none of ours goes on to work
        loop.add_signal_handler(signal.SIGUSR1, report, "another signal")


async def main() -> None:
    """Serve until the signal has been handled, as a server does that waits for nothing."""
    stop = asyncio.Event()
    handle_signals(stop)
    carried = [asyncio.create_task(websocket()), asyncio.create_task(stream())]
    await stop.wait()
    report("stops with", sum(not one.done() for one in carried), "open")
    for one in carried:
        one.cancel()
    await asyncio.wait(carried)
    await started.stop()


if __name__ == "__main__":
    (uvloop.run if loop_name == "uvloop" else asyncio.run)(main())
    report("threads", threading.active_count())
