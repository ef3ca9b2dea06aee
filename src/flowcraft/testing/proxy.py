"""A fault proxy: the way to a server, on which a test delays, throttles, withholds and resets what passes."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Literal, Protocol, TypeAlias, cast

Address: TypeAlias = tuple[str, int]
Direction: TypeAlias = Literal["up", "down"]
"""`up` is what the client says."""
BACKLOG = 4096
HIGH_WATER_BYTES = 256 * 1024
THROTTLE_SECONDS = 0.05
_RESET = struct.pack("ii", 1, 0)


class Transform(Protocol):
    """Changes what a server says to one client."""

    def __call__(self, data: bytes) -> bytes: ...


class WithoutNotifications:
    """Takes the notifications out of what PostgreSQL says, while `active`; one for many connections.

    A message is a byte of kind, a length that counts itself, and a body (PostgreSQL 55.7). Before the first
    one a server may answer the request for encryption with a single byte.
    """

    KIND = ord("A")
    HEAD_BYTES = 5

    def __init__(self) -> None:
        self.active = False
        self.dropped = 0

    def __call__(self) -> Transform:
        """Return the transform of one connection."""
        buffer = bytearray()
        first = True

        def transform(data: bytes) -> bytes:
            nonlocal first
            if first and data[:1] in (b"N", b"S") and len(data) == 1:
                return data
            first = False
            buffer.extend(data)
            return self._whole_messages(buffer)

        return transform

    def _whole_messages(self, buffer: bytearray) -> bytes:
        passed = bytearray()
        while len(buffer) >= self.HEAD_BYTES:
            length = 1 + int.from_bytes(buffer[1 : self.HEAD_BYTES], "big")
            if len(buffer) < length:
                break
            if self.active and buffer[0] == self.KIND:
                self.dropped += 1
            else:
                passed += buffer[:length]
            del buffer[:length]
        return bytes(passed)


class FaultProxy:
    """Forwards TCP connections on 127.0.0.1 to one of its upstreams, each in turn, as its faults allow.

    The faults act on all connections, present and future; a `Link` has its own on top of them.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        upstreams: Sequence[Address],
        transform_down: Callable[[], Transform] | None,
        chance: random.Random,
    ) -> None:
        """Prepare a proxy; `open` is what you want."""
        self.port = 0
        self.upstreams = list(upstreams)
        self.links: list[Link] = []
        self.accepted_at: list[float] = []
        self.latency_seconds = 0.0
        self.bytes_per_second: float | None = None
        self.withheld: set[Direction] = set()
        self.refusing = False
        self.transform_down = transform_down
        self._chance = chance
        self._turn = 0

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        upstream: Address | Sequence[Address],
        *,
        port: int = 0,
        transform_down: Callable[[], Transform] | None = None,
        chance: random.Random | None = None,
    ) -> AsyncIterator[FaultProxy]:
        """Listen until the block ends, on a free port unless one is given."""
        upstreams = [cast(Address, upstream)] if isinstance(upstream, tuple) else list(upstream)
        proxy = cls(upstreams, transform_down, chance or random.Random())  # noqa: S311  # no secret
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Near(proxy), cls.host, port, backlog=BACKLOG)
        proxy.port = server.sockets[0].getsockname()[1]
        try:
            yield proxy
        finally:
            server.close()
            for link in list(proxy.links):
                link.abort()

    @property
    def total_accepted(self) -> int:
        """How many connections there have been."""
        return len(self.accepted_at)

    def black_hole(self, *directions: Direction) -> None:
        """Withhold what is said, as if packets were lost: connections stay, and new ones are taken."""
        self.withheld.update(directions)
        self._tell_links()

    def heal(self) -> None:
        """End every fault; what was withheld flows on."""
        self.withheld.clear()
        self.refusing = False
        self.latency_seconds = 0.0
        self.bytes_per_second = None
        for link in self.links:
            link.withheld.clear()
            link.bytes_per_second = None
        self._tell_links()

    def refuse(self, refusing: bool = True) -> None:
        """Reset new connections at once; present ones stay."""
        self.refusing = refusing

    def reset(self, count: int | None = None) -> int:
        """Reset connections on both sides (RST), all or so many by chance; return how many."""
        chosen = (
            list(self.links)
            if count is None
            else self._chance.sample(self.links, min(count, len(self.links)))
        )
        for link in chosen:
            link.reset()
        return len(chosen)

    def in_turn(self) -> list[Address]:
        """The upstreams, beginning with the next one."""
        self._turn += 1
        start = self._turn % max(1, len(self.upstreams))
        return self.upstreams[start:] + self.upstreams[:start]

    def _tell_links(self) -> None:
        for link in list(self.links):
            link.pump()


class Link:
    """One connection through the proxy, with the faults that are its own."""

    def __init__(self, proxy: FaultProxy, near: _Near) -> None:
        self.withheld: set[Direction] = set()
        self.bytes_per_second: float | None = None
        self._proxy = proxy
        self.near: _End = near
        self.far: _End | None = None
        self._up = _Flow(self, "up")
        self._down = _Flow(self, "down")
        self._connecting: asyncio.Task[None] | None = None

    def black_hole(self, *directions: Direction) -> None:
        """Withhold what is said on this connection."""
        self.withheld.update(directions)

    def heal(self) -> None:
        """End the faults of this connection."""
        self.withheld.clear()
        self.bytes_per_second = None
        self.pump()

    def reset(self) -> None:
        """Reset both sides."""
        for end in (self.near, self.far):
            if end is not None:
                end.reset()

    def abort(self) -> None:
        """End the connection."""
        if self._connecting is not None:
            self._connecting.cancel()
        for end in (self.near, self.far):
            if end is not None and end.transport is not None:
                end.transport.abort()

    def connect(self) -> None:
        """Look for an upstream that accepts."""
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    def flow(self, direction: Direction) -> _Flow:
        return self._up if direction == "up" else self._down

    def pump(self) -> None:
        self._up.pump()
        self._down.pump()

    def is_withheld(self, direction: Direction) -> bool:
        return direction in self._proxy.withheld or direction in self.withheld

    def latency_seconds(self) -> float:
        return self._proxy.latency_seconds

    def rate(self, direction: Direction) -> float | None:
        rates = [r for r in (self._proxy.bytes_per_second, self.bytes_per_second) if r is not None]
        return min(rates) if rates and direction == "down" else None

    def sink(self, direction: Direction) -> _End | None:
        return self.far if direction == "up" else self.near

    def source(self, direction: Direction) -> _End | None:
        return self.near if direction == "up" else self.far

    def ended(self, end: _End) -> None:
        """One side is gone: the other hears of it once all that was said has been passed on."""
        self.flow("up" if end is self.near else "down").finish()
        if self in self._proxy.links and (end is self.near or self.far is None):
            self._proxy.links.remove(self)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        make = self._proxy.transform_down
        for host, port in self._proxy.in_turn():
            far = _Far(self, make() if make else None)
            try:
                await loop.create_connection(lambda far=far: far, host, port)  # type: ignore[misc]
            except OSError:
                continue
            self.far = far
            self.pump()
            return
        self.near.reset()


class _Flow:
    """One direction of a link: what has been said and not been passed on yet."""

    def __init__(self, link: Link, direction: Direction) -> None:
        self._link = link
        self._direction: Direction = direction
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._bytes = 0
        self._blocked = False
        self._finished = False
        self._timer: asyncio.TimerHandle | None = None
        self._allowance = 0.0
        self._allowed_at = time.monotonic()

    def put(self, data: bytes) -> None:
        if data:
            self._waiting.append((time.monotonic() + self._link.latency_seconds(), data))
            self._bytes += len(data)
        self.pump()

    def block(self, blocked: bool) -> None:
        """The sink does not take more for now, or does again."""
        self._blocked = blocked
        if not blocked:
            self.pump()

    def finish(self) -> None:
        """Nothing more will be said."""
        self._finished = True
        self.pump()

    def pump(self) -> None:
        """Pass on what may pass now."""
        sink = self._link.sink(self._direction)
        if sink is not None and sink.transport is not None and not self._link.is_withheld(self._direction):
            while self._waiting and not self._blocked and self._pass_one(sink.transport):
                pass
            if self._finished and not self._waiting:
                sink.transport.close()
        self._regulate_source()

    def _pass_one(self, transport: asyncio.Transport) -> bool:
        due, data = self._waiting[0]
        now = time.monotonic()
        if due > now:
            self._later(due - now)
            return False
        room = self._room(now)
        if room < 1:
            self._later(THROTTLE_SECONDS)
            return False
        self._waiting.popleft()
        if len(data) > room:
            self._waiting.appendleft((due, data[int(room) :]))
            data = data[: int(room)]
        self._allowance -= len(data)
        self._bytes -= len(data)
        transport.write(data)
        return True

    def _room(self, now: float) -> float:
        rate = self._link.rate(self._direction)
        if rate is None:
            self._allowed_at, self._allowance = now, 0.0
            return float("inf")
        self._allowance = min(rate, self._allowance + rate * (now - self._allowed_at))
        self._allowed_at = now
        return self._allowance

    def _regulate_source(self) -> None:
        source = self._link.source(self._direction)
        if source is not None:
            source.read(self._bytes < HIGH_WATER_BYTES)

    def _later(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._again)

    def _again(self) -> None:
        self._timer = None
        self.pump()


class _End(asyncio.Protocol):
    """One socket of a link."""

    link: Link
    says: Direction

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._reading = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)

    def data_received(self, data: bytes) -> None:
        self.link.flow(self.says).put(data)

    def pause_writing(self) -> None:
        self.link.flow("down" if self.says == "up" else "up").block(True)

    def resume_writing(self) -> None:
        self.link.flow("down" if self.says == "up" else "up").block(False)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's
        self.transport = None
        self.link.ended(self)

    def read(self, wanted: bool) -> None:
        if self.transport is None or self.transport.is_closing() or wanted == self._reading:
            return
        self._reading = wanted
        if wanted:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def reset(self) -> None:
        if self.transport is not None:
            raw: socket.socket | None = self.transport.get_extra_info("socket")
            if raw is not None:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()


class _Near(_End):
    """The socket to the client."""

    says = "up"

    def __init__(self, proxy: FaultProxy) -> None:
        super().__init__()
        self._proxy = proxy
        self.link = Link(proxy, self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._proxy.accepted_at.append(time.monotonic())
        self._proxy.links.append(self.link)
        if self._proxy.refusing:
            self.reset()
        else:
            self.link.connect()


class _Far(_End):
    """The socket to the server."""

    says = "down"

    def __init__(self, link: Link, transform: Transform | None) -> None:
        super().__init__()
        self.link = link
        self._transform = transform

    def data_received(self, data: bytes) -> None:
        super().data_received(self._transform(data) if self._transform else data)
