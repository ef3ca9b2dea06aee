"""Fan-out: write to many sessions, a few hundred at a turn of the event loop, in one order for all."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Protocol

from flowcraft.core.bundles import Bundle, Part
from flowcraft.core.hub import SessionId
from flowcraft.runtime.isolation import Isolation
from flowcraft.runtime.supervisor import Supervisor

SLICE = 250
"""Writes at a turn of the event loop: each takes about 5 µs, of which Python takes less than one."""


class Recipient(Protocol):
    """The sender of one connection; it handles the failures of its connection itself."""

    def write(self, part: Part) -> None:
        """Send messages."""
        ...

    def write_shared(self, bundle: Bundle) -> None:
        """Send messages that other connections get as well."""
        ...

    def fail(self, error: BaseException) -> None:
        """Close the connection: a message to it was not written."""
        ...


class FanOut:
    """Writes parts to the senders of a node.

    The first few hundred are written at once. While others wait for their turn, every later part waits behind
    them, for all sessions: a commit point is a promise about the events before it.
    """

    def __init__(
        self, senders: Mapping[SessionId, Recipient], supervisor: Supervisor, isolation: Isolation
    ) -> None:
        self._senders = senders
        self._isolation = isolation
        self._supervisor = supervisor
        self._waiting: deque[tuple[Part, tuple[SessionId, ...]]] = deque()
        self._idle = asyncio.Event()
        self._idle.set()

    def write(self, part: Part, to: tuple[SessionId, ...]) -> None:
        """Write to sessions, after all earlier parts; sessions that have ended are skipped."""
        if self._idle.is_set():
            self._write(part, to[:SLICE])
            to = to[SLICE:]
            if not to:
                return
            self._idle.clear()
            self._supervisor.spawn(self._write_rest(), "fan-out")
        self._waiting.append((part, to))

    async def until_idle(self) -> None:
        """Wait until everything has been written."""
        await self._idle.wait()

    async def _write_rest(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(0)
                self._write_slice()
        finally:
            self._idle.set()

    def _write_slice(self) -> None:
        room = SLICE
        while room > 0 and self._waiting:
            part, to = self._waiting.popleft()
            if len(to) > room:
                self._waiting.appendleft((part, to[room:]))
            self._write(part, to[:room])
            room -= len(to)

    def _write(self, part: Part, to: tuple[SessionId, ...]) -> None:
        get = self._senders.get  # looked up each time: a write may close a connection during the loop
        shared = part if isinstance(part, Bundle) and part.is_shared else None
        for session in to:
            sender = get(session)
            if sender is None:
                continue
            try:  # costs nothing while nothing is raised (Python 3.11)
                if shared is not None:
                    sender.write_shared(shared)
                else:
                    sender.write(part)
            except Exception as error:  # noqa: BLE001  # reported there
                self._isolation.report("connection", f"a write to {sender}", error)
                sender.fail(error)
