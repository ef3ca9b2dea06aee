"""A worker: one of the server processes that share a port; `workers` starts and replaces them."""

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
"""A worker listens once it has read the log, or after this time, to answer 503 and an unready /readyz."""
HANDSHAKE_SECONDS = 0.2
"""Connections accepted just before the stop get this long for their handshake, then are drained too."""
STDIN = 0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class WorkerSlot:
    """What a worker inherits: its number, the pipe for its progress, and the sockets to listen on."""

    number: int
    progress: int
    sockets: tuple[int, ...]

    def __str__(self) -> str:
        return ":".join(map(str, (self.number, self.progress, *self.sockets)))

    @classmethod
    def parse(cls, text: str) -> Self:
        number, progress, *sockets = map(int, text.split(":"))
        return cls(number, progress, tuple(sockets))


def work(realtime: Realtime, slot: WorkerSlot) -> None:
    """Serve in this slot until a stop signal, or until the parent process has ended."""
    for number in (slot.progress, *slot.sockets):
        os.set_inheritable(number, False)
    if (
        sys.platform == "linux"
    ):  # also by the kernel: a blocked event loop does not see the end of standard input
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    run(_work(realtime, slot))


async def _work(realtime: Realtime, slot: WorkerSlot) -> None:
    stopping = stop_signal()
    _end_with_parent(stopping)
    node = await realtime.start()
    server = Server(node, sockets=[socket.socket(fileno=number) for number in slot.sockets])
    try:
        with suppress(TimeoutError):
            await asyncio.wait_for(node.until_accepting(), FIRST_READ_SECONDS)
        await server.start()
        os.write(slot.progress, LISTENING)
        node.supervisor.spawn(_report_accepting(node, slot.progress), "progress")
        await stopping.wait()
        server.close()
        await asyncio.sleep(HANDSHAKE_SECONDS)
        await server.stop()
    finally:
        await realtime.stop()


async def _report_accepting(node: Node, progress: int) -> None:
    await node.until_accepting()
    os.write(progress, ACCEPTING)


def _end_with_parent(stopping: asyncio.Event) -> None:
    """Stop when standard input ends: only the parent holds the other end of that pipe."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        if not os.read(STDIN, 1024):
            loop.remove_reader(STDIN)
            stopping.set()

    loop.add_reader(STDIN, read)
