"""Damage: what a server under test does wrong on purpose, from inside."""

from __future__ import annotations

import random
import time

import msgspec

from flowcraft.adapters.websocket import WebSocketConnection
from flowcraft.core.frames import Bundle

_write = WebSocketConnection.write
_time = time.time


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of the writes to clients that go wrong, and what the wall clock shows.

    Each thing done is told as a line on standard output: `damage <kind> <monotonic seconds>`.
    """

    lose_event: float = 0.0
    """One event of a group is not sent, its commit point is."""
    lose_group: float = 0.0
    """A whole group is not sent."""
    repeat_group: float = 0.0
    """A whole group is sent twice."""
    clock_offset_seconds: float = 0.0

    def inflict(self) -> None:
        """Begin."""
        if self.lose_event or self.lose_group or self.repeat_group:
            chance = random.Random(1)

            def write(connection: WebSocketConnection, bundle: Bundle) -> None:
                self._write(connection, bundle, chance)

            setattr(WebSocketConnection, "write", write)  # noqa: B010  # a method, on purpose
        if self.clock_offset_seconds:
            offset = self.clock_offset_seconds
            time.time = lambda: _time() + offset

    def _write(self, connection: WebSocketConnection, bundle: Bundle, chance: random.Random) -> None:
        group = bundle.messages
        drawn = chance.random()
        if not group[0].startswith(b'{"channel"'):
            _write(connection, bundle)
        elif drawn < self.lose_event:
            _tell("lose_event")
            _write(connection, Bundle(group[1:]))
        elif drawn < self.lose_event + self.lose_group:
            _tell("lose_group")
        elif drawn < self.lose_event + self.lose_group + self.repeat_group:
            _tell("repeat_group")
            _write(connection, bundle)
            _write(connection, bundle)
        else:
            _write(connection, bundle)


def _tell(kind: str) -> None:
    print("damage", kind, time.monotonic(), flush=True)
