"""An ASGI application for any server: ours or the Starlette loop, with the port for orders beside it.

Run as a program, it becomes a server: `python -m benchmarks.fanout.hosted PORT CONTROL SERVER APPLICATION`.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.fanout.control import Go, obey
from benchmarks.fanout.ours.dedicated import commit, running_node
from flowcraft.adapters.memory import MemoryLog
from flowcraft.entrypoints.asgi import RealtimeApp
from flowcraft.runtime.node import Node

COMMANDS = {
    "uvicorn": "uvicorn --port {port} --log-level critical --ws-ping-interval 600 --backlog 4096",
    "hypercorn": "hypercorn -b 127.0.0.1:{port} -k uvloop --backlog 4096 --log-level critical",
    "granian": "granian --interface asgi --port {port} --loop uvloop --backlog 4096 --log-level critical",
    "daphne": "daphne -b 127.0.0.1 -p {port} -v 0 --ping-interval 600",
}
PORT, CONTROL, SERVER = "BENCH_PORT", "BENCH_CONTROL", "BENCH_SERVER"
_running = set[asyncio.Task[None]]()
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Started:
    """A node on a log in memory, made in the event loop of the server."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self._starting: asyncio.Task[Node] | None = None

    async def start(self) -> Node:
        if self._starting is None:
            self._starting = asyncio.create_task(running_node(self.log))
        return await self._starting

    async def stop(self) -> None:
        """Do nothing: the program is killed."""

    def go(self, count: int) -> None:
        """Commit so many events."""
        commit(self.log, count)


class Controlled:
    """An application that takes orders once its server listens; then it ends the program."""

    def __init__(self, app: Callable[[Any, Any, Any], Awaitable[None]], go: Go) -> None:
        self._app = app
        self._go = go
        if os.environ.get(SERVER) == "daphne":  # it runs no lifespan
            reactor: Any = importlib.import_module("twisted.internet.reactor")
            reactor.callWhenRunning(lambda: self._begin(reactor._asyncioEventloop))  # noqa: SLF001

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            self._begin(asyncio.get_running_loop())
            await send({"type": "lifespan.startup.complete"})
            await receive()
        else:
            await self._app(scope, receive, send)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        _running.add(loop.create_task(self._obey()))

    async def _obey(self) -> None:
        port = int(os.environ[PORT])
        while not await _is_open(port):  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # no server reports to its application that it listens
        await obey(int(os.environ[CONTROL]), self._go, watched=os.getpid())
        os.killpg(os.getpgrp(), signal.SIGKILL)


async def _is_open(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def ours() -> Controlled:
    """Return our mount, which uses the socket of uvicorn, and messages of ASGI elsewhere."""
    started = Started()
    return Controlled(RealtimeApp(started, None, "/realtime"), started.go)


def loop() -> Controlled:
    """Return Starlette with a list of sockets."""
    from benchmarks.fanout.peers import starlette_loop

    return Controlled(starlette_loop.app, starlette_loop.go)


def main() -> None:
    """Become the server."""
    port, control, server, name = sys.argv[1:]
    command = [*COMMANDS[server].format(port=port).split(), f"benchmarks.fanout.hosted_{name}:app"]
    program = Path(sys.executable).parent / command[0]
    environment = {PORT: port, CONTROL: control, SERVER: server}
    os.execve(program, command, os.environ | environment)


if __name__ == "__main__":
    main()
