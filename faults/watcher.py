"""Watchers: clients with a token, which record what they receive and how they are refused."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from faults.wire import Wire

_LOOK_SECONDS = 0.05
"""How often a wait finds out that the connection has ended."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An event that a watcher has received."""

    channel: str
    row: int | str
    version: int
    at: float


class Watcher:
    """One connection. It keeps the events, the refusals and the close code; it does not connect again."""

    def __init__(self, address: str, token: str | None) -> None:
        self.seen: list[Seen] = []
        self.frames: list[dict[str, Any]] = []
        """All but events and heartbeats."""
        self.refused: list[str] = []
        """The channels that were forbidden, or ended."""
        self.subscribed: set[str] = set()
        self.expires_in: int | None = None
        self._news = asyncio.Event()
        self._token = token
        self.wire = Wire(address, self._greet, self._received, answers_pings=True)

    @classmethod
    @asynccontextmanager
    async def open(cls, address: str, token: str | None) -> AsyncIterator[Watcher]:
        """Connect, send the token, and wait for the greeting."""
        watcher = cls(address, token)
        await watcher.wire.connect()
        try:
            await watcher.until(lambda: watcher.frames)
            yield watcher
        finally:
            watcher.wire.drop(1000)
            await watcher.wire.lost

    @property
    def is_closed(self) -> bool:
        """Whether the connection has ended."""
        return self.wire.lost.done()

    @property
    def code(self) -> int | None:
        """The close code, once the connection has ended."""
        return self.wire.lost.result() if self.is_closed else None

    def send(self, frame: object) -> None:
        """Send a frame."""
        self.wire.send(json.dumps(frame).encode())

    def subscribe(self, channels: Sequence[str], since: str | None = None) -> None:
        """Subscribe, with a cursor or from now."""
        self.send({"subscribe": list(channels), **({"since": since} if since else {})})

    async def until(self, holds: Callable[[], object], seconds: float = 10.0) -> bool:
        """Wait until something holds, or the connection has ended; return whether it holds."""
        end = time.monotonic() + seconds
        while not holds() and not self.is_closed and time.monotonic() < end:
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._news.wait()
        return bool(holds())

    async def answered(self, channel: str) -> bool:
        """Wait for the answer to a subscription; return whether it was accepted."""
        await self.until(lambda: channel in self.subscribed or channel in self.refused)
        return channel in self.subscribed

    def _greet(self) -> None:
        if self._token is not None:
            self.send({"auth": self._token})

    def _received(self, message: bytes) -> None:
        frame = json.loads(message)
        if "payload" in frame:
            payload = frame["payload"]
            self.seen.append(Seen(frame["channel"], payload["row"], payload["version"], time.monotonic()))
        elif "cursor" not in frame or "subscribed" in frame or "hello" in frame:
            self.frames.append(frame)
            self.subscribed |= set(frame.get("subscribed", ()))
            if "authenticated" in frame:
                self.expires_in = frame["authenticated"].get("expires_in")
            error = frame.get("error", {})
            names = error.get("channels", [error["channel"]] if "channel" in error else [])
            self.refused += names
            self.subscribed -= set(names)
        self._news.set()
