"""Planted failures: a node whose parts can be made to fail, and clients that notice what they miss."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from flowcraft.adapters.asgi import json_sequence, split_sequence
from flowcraft.adapters.memory import MemoryLog, MemoryWakeups
from flowcraft.channels import Channels
from flowcraft.core.bundles import Framing
from flowcraft.events import Event
from flowcraft.records import Record
from flowcraft.runtime.clock import SystemClock
from flowcraft.runtime.node import Node
from flowcraft.settings import Settings
from flowcraft.viewers import Viewer

ANSWER_SECONDS = 20.0
START = "1/1.0/700:"


class Ping(Event):
    """A number, and what replaces it."""

    n: int
    key: str = ""


channels = Channels()
channels.declare("ping_update", Ping)
channels.declare("latest_update", Ping, conflate="key")
channels.declare("note_update", Ping, durable=False)
private = channels.declare("private.{user}", Ping, params={"user": str})


@private.guard
async def may_watch(viewer: Viewer, user: str) -> bool:
    if user == "cancelled":
        raise asyncio.CancelledError
    if user == "broken":
        raise OSError("planted")
    return viewer.subject == user


class Doorkeeper:
    """Proves every token that names its subject."""

    required = False

    async def authenticate(self, token: str) -> Viewer:
        if token == "broken":
            raise OSError("planted")
        if token == "cancelled":
            raise asyncio.CancelledError
        # A time that cannot be counted with: the fault shows after the token was checked.
        return Viewer(token, expires_at="soon" if token == "odd" else None)  # type: ignore[arg-type]


class Tracer:
    """Implements `flowcraft.ports.Tracer`."""

    def traceparent(self) -> None:
        return None

    def delivered(self, record: Record, family: str, recipients: int, seconds: float) -> None:
        """Say nothing."""


class Client:
    """A connection that keeps what it receives, and knows whether something was missed silently."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.closed: tuple[int, str] | None = None
        self.congested = False
        """Whether what it is sent waits in the carrier, and never leaves."""
        self.framing: Framing = json_sequence
        self.address = "a test"
        self.is_direct = True
        self.waiting_bytes = 0
        self._changed = asyncio.Event()

    def try_send(self, data: bytes) -> int:
        self.frames += map(msgspec.json.decode, split_sequence(data))
        self._changed.set()
        if not self.congested:
            return 0
        self.waiting_bytes = len(data)
        return len(data)

    def ping(self) -> None:
        pass

    def close(self, code: int, reason: str, rest: bytes = b"") -> None:
        self.frames += map(msgspec.json.decode, split_sequence(rest))
        self.closed = (code, reason)
        self._changed.set()

    async def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
        """Wait for a frame of which this is so; None if the connection was closed instead."""
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                for frame in self.frames:
                    if condition(frame):
                        return frame
                if self.closed is not None:
                    return None
                self._changed.clear()
                await self._changed.wait()

    def numbers(self) -> list[int]:
        return [frame["payload"]["n"] for frame in self.frames if "id" in frame]

    def was_reset(self) -> bool:
        return any("reset" in frame for frame in self.frames)


@dataclass
class Stage:
    """A node, two clients that have done nothing, and one that may have."""

    node: Node
    log: MemoryLog
    live: Client = field(default_factory=Client)
    victim: Client = field(default_factory=Client)
    written: int = 0

    def broadcast(self, channel: str = "ping_update") -> int:
        """Commit one event; return its number."""
        self.written += 1
        transaction = self.log.begin()
        transaction.broadcast(channel, f'{{"n":{self.written},"key":"k"}}')
        transaction.commit()
        return self.written


@asynccontextmanager
async def staged(settings: Settings | None = None, log: MemoryLog | None = None) -> AsyncIterator[Stage]:
    # Nothing is kept in memory: every replay reads the log.
    settings = settings or Settings(recent_bytes=1, safety_poll_seconds=0.1, heartbeat_seconds=0.05)
    log = log or MemoryLog()
    node = Node(
        channels,
        log,
        MemoryWakeups(log),
        settings=settings,
        authorizer=Doorkeeper(),
        clock=SystemClock(),
        tracer=Tracer(),
    )
    stage = Stage(node, log)
    node.start()
    try:
        yield stage
    finally:
        await node.stop()


class Plant:
    """Makes a method fail the first time it is called; `happened` is set then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: BaseException, times: int = 1) -> None:
        self.happened = asyncio.Event()
        self._monkeypatch = monkeypatch
        self._error = error
        self._left = times

    def into(self, owner: object, name: str) -> None:
        original = getattr(owner, name)

        def planted(*arguments: Any, **named: Any) -> Any:
            if self._left:
                self._left -= 1
                self.happened.set()
                raise self._error
            return original(*arguments, **named)

        self._monkeypatch.setattr(owner, name, planted)


async def stand(stage: Stage) -> None:
    """Have one client live, after events that others have yet to catch up with."""
    async with asyncio.timeout(ANSWER_SECONDS):
        await stage.node.until_accepting()
    stage.node.connect(stage.live, ["ping_update"])
    await stage.live.until(lambda frame: "subscribed" in frame)
    stage.broadcast()
    await stage.live.until(lambda frame: frame.get("n") == 1)


async def all_goes_on(stage: Stage) -> None:
    """Check that others are served: one that was here, one that comes back, and one that is new."""
    number = stage.broadcast()
    arrived = await stage.live.until(lambda frame: frame.get("payload", {}).get("n") == number)
    assert arrived is not None, f"a client that did nothing was closed: {stage.live.closed}"
    if not stage.live.was_reset():
        assert stage.live.numbers() == list(range(1, number + 1)), "an event was missed silently"
    back = Client()
    stage.node.connect(back, ["ping_update"], since=START)
    answer = await back.until(lambda frame: "subscribed" in frame or "reset" in frame)
    assert answer is not None
    assert back.numbers() == list(range(1, stage.written + 1))
    assert answer["n"] == stage.written
    assert stage.node.report().ready
