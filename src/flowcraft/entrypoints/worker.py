"""A worker: one of the server processes that share a port and are kept by `workers`."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from flowcraft.entrypoints.compose import Realtime
from flowcraft.entrypoints.serve import Server, run, stop_signal
from flowcraft.runtime.node import Node

LISTENING = b"listening\n"
ACCEPTING = b"accepting\n"
FIRST_READ_SECONDS = 2.0
"""It listens once the log was read, or after this time: then to say that it cannot serve."""
HANDSHAKE_SECONDS = 0.2
"""Who had just been taken when the end came is let in, and sent away in order with the others."""
STDIN = 0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class WorkerSlot:
    """What a worker inherits: its number, the pipe it tells its progress by, and the sockets to listen on."""

    number: int
    progress: int
    sockets: tuple[int, ...]

    def __str__(self) -> str:
        return ":".join(map(str, (self.number, self.progress, *self.sockets)))

    @classmethod
    def parse(cls, text: str) -> Self:
        number, progress, *sockets = map(int, text.split(":"))
        return cls(number, progress, tuple(sockets))


def work(realtime: Realtime, place: WorkerSlot) -> None:
    """Serve at this place until told to end, or until whoever keeps the workers has gone."""
    for number in (place.progress, *place.sockets):
        os.set_inheritable(number, False)
    if sys.platform == "linux":  # by the kernel too: a loop that hangs does not see the end of its input
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    run(_work(realtime, place))


async def _work(realtime: Realtime, place: WorkerSlot) -> None:
    told = stop_signal()
    _end_with_parent(told)
    node = await realtime.start()
    server = Server(node, sockets=[socket.socket(fileno=number) for number in place.sockets])
    try:
        with suppress(TimeoutError):
            await asyncio.wait_for(node.until_accepting(), FIRST_READ_SECONDS)
        await server.start()
        os.write(place.progress, LISTENING)
        node.supervisor.spawn(_tell_accepting(node, place.progress), "progress")
        await told.wait()
        server.close()
        await asyncio.sleep(HANDSHAKE_SECONDS)
        await server.stop()
    finally:
        await realtime.stop()


async def _tell_accepting(node: Node, progress: int) -> None:
    await node.until_accepting()
    os.write(progress, ACCEPTING)


def _end_with_parent(told: asyncio.Event) -> None:
    """Take the end of our input, a pipe that only the parent holds, as its end."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        if not os.read(STDIN, 1024):
            loop.remove_reader(STDIN)
            told.set()

    loop.add_reader(STDIN, read)
