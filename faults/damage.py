"""Damage: what a server under test does wrong on purpose, from inside."""

from __future__ import annotations

import random
import time

import msgspec

from flowcraft.core.frames import Bundle
from flowcraft.runtime.gateway import Gateway

_write_shared = Gateway.write_shared
_time = time.time


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of the writes to clients that go wrong, and what the wall clock shows.

    Each thing done is a line on standard output: `damage <kind> <monotonic seconds>`.
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

            def write_shared(gateway: Gateway, bundle: Bundle) -> None:
                self._write(gateway, bundle, chance)

            setattr(Gateway, "write_shared", write_shared)  # noqa: B010  # a method, on purpose
        if self.clock_offset_seconds:
            offset = self.clock_offset_seconds
            time.time = lambda: _time() + offset

    def _write(self, gateway: Gateway, bundle: Bundle, chance: random.Random) -> None:
        batch = bundle.messages
        drawn = chance.random()
        if not batch[0].startswith(b'{"channel"'):
            _write_shared(gateway, bundle)
        elif drawn < self.lose_event:
            _report("lose_event")
            _write_shared(gateway, Bundle(batch[1:], bundle.events))
        elif drawn < self.lose_event + self.lose_group:
            _report("lose_group")
            _write_shared(gateway, Bundle((), bundle.events))
        elif drawn < self.lose_event + self.lose_group + self.repeat_group:
            _report("repeat_group")
            _write_shared(gateway, bundle)
            _write_shared(gateway, Bundle(batch))
        else:
            _write_shared(gateway, bundle)


def _report(kind: str) -> None:
    print("damage", kind, time.monotonic(), flush=True)
