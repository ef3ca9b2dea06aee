"""Stop signals: drain the clients before the ASGI server around us acts on SIGTERM or SIGINT.

Servers differ in what they do with open connections: Daphne and Granian cut WebSockets off at once, Granian
and Gunicorn wait for event streams, which do not end by themselves. So the signal reaches us first, and the
server after the drain. uvicorn gets it at once: its own shutdown waits for us.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, TypeAlias
from weakref import WeakSet

from flowcraft.adapters.loop_end import LoopEnd
from flowcraft.adapters.uvicorn import StoppingServer
from flowcraft.runtime.node import Node

_NUMBERS = (signal.SIGTERM, signal.SIGINT)
_CLOSING_SECONDS = 1.0
"""After the drain clients have this long for their closing handshakes."""
_POLL_SECONDS = 0.1
Handler: TypeAlias = Callable[[int, FrameType | None], Any]


class StopSignals:
    """Handles the stop signals of this process in front of the server's handlers.

    A second signal passes at once. Where no server handles SIGTERM, as in tests, nothing is changed.
    """

    def __init__(self) -> None:
        self._nodes: WeakSet[Node] = WeakSet()
        self._handlers: dict[int, Handler] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_end: LoopEnd | None = None
        self._wakeups: _Wakeups | None = None
        self._drain: asyncio.Task[None] | None = None
        self._signals = 0
        self._passing = False

    async def watch(self, node: Node) -> None:
        """Drain this node when the process is asked to stop. Call it often: servers set handlers late."""
        if threading.current_thread() is not threading.main_thread():
            return  # Python calls handlers in the main thread, which is not the server's
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._release()
            self._loop, self._loop_end = loop, LoopEnd(self._end)
            await self._loop_end.begin()
        self._nodes.add(node)
        if signal.getsignal(signal.SIGTERM) != self._on_signal:
            self._replace(loop)

    @property
    def should_exit(self) -> bool:
        """What uvicorn's server has under this name: who asks the handler asks the server behind it."""
        server = StoppingServer.of(self._handlers.get(signal.SIGTERM))
        return server is not None and server.should_exit

    def _replace(self, loop: asyncio.AbstractEventLoop) -> None:
        if not callable(signal.getsignal(signal.SIGTERM)):
            return
        self._signals, self._passing = 0, False
        for number in _NUMBERS:
            handler = signal.getsignal(number)
            if callable(handler) and handler not in (self._on_signal, signal.default_int_handler):
                self._handlers[number] = handler
                signal.signal(number, self._on_signal)
        if self._wakeups is None and any(map(_is_of_a_loop, self._handlers.values())):
            self._wakeups = _Wakeups(loop, self._is_held)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        loop, handler = self._loop, self._handlers[number]
        server = StoppingServer.of(handler)
        if self._signals == 1 and loop is not None and not loop.is_closed():
            if server is None:
                loop.call_soon_threadsafe(self._begin, number)
                return
            for node in self._nodes:
                loop.call_soon_threadsafe(node.begin_drain, server.drain_seconds)
        self._passing = True
        handler(number, frame)

    def _is_held(self, number: int) -> bool:
        """Return whether the loop must not call its handler for a signal yet."""
        return number in self._handlers and not self._passing

    def _begin(self, number: int) -> None:
        self._drain = asyncio.ensure_future(self._drain_and_pass_on(number))

    async def _drain_and_pass_on(self, number: int) -> None:
        nodes = list(self._nodes)
        longest = max((node.settings.drain_seconds for node in nodes), default=0.0)
        with suppress(TimeoutError):
            async with asyncio.timeout(longest + _CLOSING_SECONDS), asyncio.TaskGroup() as draining:
                for node in nodes:
                    draining.create_task(_until_empty(node))
        if not self._passing:
            self._passing = True
            if self._wakeups is not None:
                self._wakeups.write(number)
            self._handlers[number](number, None)

    async def _end(self) -> None:
        self._release()

    def _release(self) -> None:
        """Restore the handlers, unless others have replaced ours."""
        self._nodes.clear()
        self._loop, handlers, self._handlers = None, self._handlers, {}
        for number, handler in handlers.items():
            if signal.getsignal(number) == self._on_signal:
                signal.signal(number, handler)
        wakeups, self._wakeups = self._wakeups, None
        if wakeups is not None:
            wakeups.release()


class _Wakeups:
    """The wakeup descriptor of the process (`signal.set_wakeup_fd`), in front of an event loop's.

    A signal writes its number there, and the loop calls the handler that `add_signal_handler` was given.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, is_held: Callable[[int], bool]) -> None:
        self._loop = loop
        self._is_held = is_held
        self._read, self._written = socket.socketpair()
        self._read.setblocking(False)
        self._written.setblocking(False)
        loop.add_reader(self._read, self._pass_on)
        self._loops_own = signal.set_wakeup_fd(self._written.fileno(), warn_on_full_buffer=False)

    def write(self, number: int) -> None:
        """Have the loop call its handler for a signal."""
        if self._loops_own >= 0:
            with suppress(OSError):  # full: the loop is awake anyway
                os.write(self._loops_own, bytes([number]))

    def release(self) -> None:
        """Restore the descriptor, unless another has replaced ours."""
        current = signal.set_wakeup_fd(-1)
        if current not in (-1, self._written.fileno()):
            signal.set_wakeup_fd(current, warn_on_full_buffer=False)
        elif current != -1:
            signal.set_wakeup_fd(self._loops_own, warn_on_full_buffer=False)
        if not self._loop.is_closed():
            self._loop.remove_reader(self._read)
        self._read.close()
        self._written.close()

    def _pass_on(self) -> None:
        for number in self._read.recv(4096):
            if not self._is_held(number):
                self.write(number)


async def _until_empty(node: Node) -> None:
    """Drain a node, and wait until its connections have ended and the server has had time to write that."""
    await node.drain()
    is_empty = False
    while not is_empty:  # no signal: a closing handshake ends in the carrier
        is_empty = not node.report().connections
        await asyncio.sleep(_POLL_SECONDS)


def _is_of_a_loop(handler: Handler) -> bool:
    """Return whether a handler only wakes an event loop, which then calls the handler that it was given."""
    # asyncio calls it `_sighandler_noop`, uvloop `__sighandler`.
    return "sighandler" in getattr(handler, "__name__", "")


stop_signals = StopSignals()
"""Those of this process."""
