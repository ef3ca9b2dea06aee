"""Worker: one of the server processes that share a port; `workers` starts and restarts them."""

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

from flowcraft.entrypoints.realtime import Realtime
from flowcraft.entrypoints.serve import Server, run, stop_signal
from flowcraft.runtime.node import Node

LISTENING = b"listening\n"
ACCEPTING = b"accepting\n"
FIRST_READ_SECONDS = 2.0
"""A worker listens once it has read the log, or after this time: then it answers with 503."""
HANDSHAKE_SECONDS = 0.2
"""Connections that were accepted just before the end finish their handshake, and are drained in order."""
STDIN = 0
_PR_SET_PDEATHSIG = 1
"""From <linux/prctl.h>; Python has no name for it."""


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
    """Serve in this slot until SIGTERM, SIGINT, or the end of the parent process."""
    for number in (slot.progress, *slot.sockets):
        os.set_inheritable(number, False)
    if sys.platform == "linux":
        # An event loop that hangs does not see the end of its input; the kernel kills it.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    run(_work(realtime, slot))


async def _work(realtime: Realtime, slot: WorkerSlot) -> None:
    stopped = stop_signal()
    _stop_with_parent(stopped)
    node = await realtime.start()
    server = Server(node, sockets=[socket.socket(fileno=number) for number in slot.sockets])
    try:
        with suppress(TimeoutError):
            await asyncio.wait_for(node.until_accepting(), FIRST_READ_SECONDS)
        await server.start()
        os.write(slot.progress, LISTENING)
        node.supervisor.spawn(_report_accepting(node, slot.progress), "progress")
        await stopped.wait()
        server.close()
        await asyncio.sleep(HANDSHAKE_SECONDS)
        await server.stop()
    finally:
        await realtime.stop()


async def _report_accepting(node: Node, progress: int) -> None:
    await node.until_accepting()
    os.write(progress, ACCEPTING)


def _stop_with_parent(stopped: asyncio.Event) -> None:
    """Set an event when the parent ends: only the parent holds the pipe that is our standard input."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        if not os.read(STDIN, 1024):
            loop.remove_reader(STDIN)
            stopped.set()

    loop.add_reader(STDIN, read)
