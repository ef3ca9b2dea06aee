"""A connection in memory that keeps the frames it was sent, and an authorizer that trusts every name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from flowcraft.adapters.asgi import json_sequence, split_sequence
from flowcraft.core.bundles import Framing
from flowcraft.viewers import Viewer


class Client:
    """A connection that keeps what it was sent."""

    address = "192.0.2.1:1"
    is_direct = True
    waiting_bytes = 0

    def __init__(self) -> None:
        self.framing: Framing = json_sequence
        self.frames: list[dict[str, Any]] = []
        self.closed: tuple[int, str] | None = None
        self.gateway: Any = None
        self._changed = asyncio.Event()

    def try_send(self, data: bytes) -> int:
        self.frames += map(msgspec.json.decode, split_sequence(data))
        self._changed.set()
        return 0

    def ping(self) -> None: ...

    def close(self, code: int, reason: str, rest: bytes = b"") -> None:
        self.try_send(rest)
        self.closed = (code, reason)
        self._changed.set()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    @property
    def events(self) -> list[int]:
        return [frame["payload"]["n"] for frame in self.frames if "payload" in frame]

    @property
    def refused(self) -> list[str]:
        errors = [frame["error"] for frame in self.frames if "error" in frame]
        return [name for one in errors for name in one.get("channels", [one.get("channel")])]

    def count(self, member: str) -> int:
        return sum(member in frame for frame in self.frames)


class Everyone:
    """An authorizer whose tokens are names."""

    required = True

    async def authenticate(self, token: str) -> Viewer:
        return Viewer(token)
