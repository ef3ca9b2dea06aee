"""Held: what a session is not sent while a guard is asked again."""

from __future__ import annotations

from dataclasses import dataclass, field

from flowcraft.cursors import Cursor, ResetReason


@dataclass(frozen=True, slots=True)
class HeldRequest:
    """A subscription that is answered later; `since` is the reason of its reset, if it gets one."""

    channels: list[str]
    since: Cursor | ResetReason | None
    ref: int | None
    rows: bool = False
    oldest: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """What a session was live on, and what it has requested since."""

    channels: dict[str, None]
    requests: list[HeldRequest] = field(default_factory=list[HeldRequest])

    def drop(self, channel: str) -> None:
        """Forget a channel."""
        self.channels.pop(channel, None)
        for request in self.requests:
            if channel in request.channels:
                request.channels.remove(channel)
