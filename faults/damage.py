"""Damage: what a server under test does wrong on purpose, from inside."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import msgspec

from flowcraft.core.answers import Part
from flowcraft.core.bundles import Bundle
from flowcraft.core.hub_effects import SessionId
from flowcraft.runtime import presence
from flowcraft.runtime.delivery import FanOut

_write: Callable[[FanOut, Part, tuple[SessionId, ...]], None] = vars(FanOut)["_write"]
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
    presence_scale: float = 1.0
    """The beats and leases of presence are that much shorter."""

    def inflict(self) -> None:
        """Begin."""
        if self.lose_event or self.lose_group or self.repeat_group:
            chance = random.Random(1)

            def write(fan_out: FanOut, part: Part, to: tuple[SessionId, ...]) -> None:
                if not isinstance(part, Bundle) or not part.messages[0].startswith(b'{"channel"'):
                    _write(fan_out, part, to)
                    return
                for session in to:
                    for damaged in self._damaged(part, chance):
                        _write(fan_out, damaged, (session,))

            setattr(FanOut, "_write", write)  # noqa: B010  # a method, on purpose
        for name in ("BEAT_SECONDS", "LEASE_SECONDS", "MOST_SILENT_SECONDS"):
            setattr(presence, name, getattr(presence, name) * self.presence_scale)
        if self.clock_offset_seconds:
            offset = self.clock_offset_seconds
            time.time = lambda: _time() + offset

    def _damaged(self, bundle: Bundle, chance: random.Random) -> tuple[Bundle, ...]:
        """Return what is sent to one client instead."""
        drawn = chance.random()
        if drawn < self.lose_event:
            _report("lose_event")
            return (Bundle(bundle.messages[1:], bundle.events),)
        if drawn < self.lose_event + self.lose_group:
            _report("lose_group")
            return (Bundle((), bundle.events),)
        if drawn < self.lose_event + self.lose_group + self.repeat_group:
            _report("repeat_group")
            return bundle, Bundle(bundle.messages)
        return (bundle,)


def _report(kind: str) -> None:
    print("damage", kind, time.monotonic(), flush=True)
