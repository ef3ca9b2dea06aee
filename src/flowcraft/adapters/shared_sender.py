"""Shared sender: one task that sends for many connections; a task for each costs more than sending."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol
from weakref import WeakKeyDictionary


class Sending(Protocol):
    """A connection that has something to send."""

    waits: bool
    """Whether sending has waited before: then it gets a task of its own."""
    sending: asyncio.Task[None] | None
    """The task that waits for this connection alone."""

    async def send_all(self) -> None:
        """Send everything; raises nothing but a cancellation."""
        ...


class SharedSender:
    """Sends for the connections of one event loop, in their order.

    Most servers send at once, or buffer. Where sending waits, for a client that does not read or for the
    server's own tasks, the task is left to that connection, and another goes on with the others.
    """

    def __init__(self) -> None:
        self._ready: deque[Sending] = deque()
        self._task: asyncio.Task[None] | None = None
        self._current: Sending | None = None

    def add(self, connection: Sending) -> None:
        """Let a connection send soon; it is added again only once it has sent everything."""
        if connection.waits:
            connection.sending = asyncio.create_task(connection.send_all(), name="asgi connection")
            return
        self._ready.append(connection)
        if self._task is None:
            self._task = asyncio.create_task(self._send(), name="asgi connections")

    async def _send(self) -> None:
        task = self._task
        # It runs in the next turn of the event loop, which comes during the loop below only if that waits.
        leaving = asyncio.get_running_loop().call_soon(self._leave)
        try:
            while self._task is task and self._ready:
                self._current = self._ready.popleft()
                await self._current.send_all()
        finally:
            if self._task is task:
                leaving.cancel()
                self._go_on()

    def _leave(self) -> None:
        """Leave the task to the connection for which it waits."""
        if self._current is not None:
            self._current.waits, self._current.sending = True, self._task
        self._go_on()

    def _go_on(self) -> None:
        self._current = None
        self._task = asyncio.create_task(self._send(), name="asgi connections") if self._ready else None


_senders: WeakKeyDictionary[asyncio.AbstractEventLoop, SharedSender] = WeakKeyDictionary()


def shared_sender() -> SharedSender:
    """Return the sender of the running event loop."""
    return _senders.setdefault(asyncio.get_running_loop(), SharedSender())
