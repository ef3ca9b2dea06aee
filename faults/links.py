"""Links: the connections of a fault proxy, and the ways in them on which everything waits its turn.

A link has two ways, up to the server and down to the client. A way is a line in which bytes, the end of the
stream and a reset wait their turn, so that whatever befalls one befalls all three: out of a black hole not
even the news of a death gets through. Lines are bounded: when the far end does not read, or nothing passes,
the near end is not read either.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Literal, Protocol, TypeAlias, cast

Direction: TypeAlias = Literal["up", "down"]
"""Up is from the client to the server."""
Transform: TypeAlias = Callable[[bytes], bytes]
"""Called with each piece of one stream, in order; returns what passes instead."""

_LINE_BYTES = 512 * 1024
"""What waits in one way before its source is read no further; with latency, this bounds what is under way."""
_SOCKET_BYTES = 256 * 1024
"""Of the kernel: it hides this much backlog from the other side, and by default several megabytes."""
_TICK_SECONDS, _BURST_SECONDS = 0.02, 0.1
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class _End(Enum):
    STREAM = auto()
    RESET = auto()


class TcpPair(Protocol):
    """What a link needs of its proxy: the faults that all links share, and a server to reach."""

    latency_seconds: float
    transform_down: Callable[[], Transform] | None

    @property
    def bytes_per_second(self) -> float | None:
        """How much each connection gets on its way down."""
        ...

    def withholds(self, direction: Direction) -> bool:
        """Whether nothing passes in this direction."""
        ...

    def accept(self, link: Link) -> bool:
        """A client has come; return whether it may stay."""
        ...

    def connect(self, link: Link) -> None:
        """Find a server for a link."""
        ...

    def forget(self, link: Link) -> None:
        """Both sides of a link are gone."""
        ...


class Link:
    """One connection through a proxy. Its own faults come on top of the proxy's."""

    def __init__(self, proxy: TcpPair) -> None:
        self.latency_seconds: float | None = None
        """Instead of the proxy's."""
        self._proxy = proxy
        self._bytes_per_second: float | None = None
        self._withheld: set[Direction] = set()
        self._connects = False
        transform = proxy.transform_down() if proxy.transform_down is not None else None
        self.up, self.down = Way(self, "up", None), Way(self, "down", transform)
        self.client = Side(self, outward=self.up, inward=self.down)
        self.server = Side(self, outward=self.down, inward=self.up)

    @property
    def bytes_per_second(self) -> float | None:
        """How much gets down, instead of the proxy's rate."""
        return self._bytes_per_second

    @bytes_per_second.setter
    def bytes_per_second(self, rate: float | None) -> None:
        self._bytes_per_second = rate
        self.flush()

    def black_hole(self, *directions: Direction) -> None:
        """Let nothing pass any more, in both directions if none is named."""
        self._withheld.update(directions or ("up", "down"))

    def heal(self) -> None:
        """End the faults of this link; what was withheld flows on, unless the proxy holds it."""
        self._withheld.clear()
        self._bytes_per_second = None
        self.latency_seconds = None
        for way in (self.up, self.down):
            way.release()

    def reset(self) -> None:
        """Reset both sides. Over a Unix socket the server sees an end instead."""
        for side in (self.client, self.server):
            side.reset()

    @property
    def abandoned(self) -> bool:
        """Whether the client is gone."""
        return self.client.transport is None

    def flush(self) -> None:
        """Look again at what waits."""
        self._connect()
        self.up.flush()
        self.down.flush()

    def withholds(self, direction: Direction) -> bool:
        """Whether nothing passes in this direction."""
        return direction in self._withheld or self._proxy.withholds(direction)

    def latency(self) -> float:
        """Seconds that a piece travels."""
        return self._proxy.latency_seconds if self.latency_seconds is None else self.latency_seconds

    def rate(self, direction: Direction) -> float | None:
        """Bytes per second that pass."""
        if direction == "up":
            return None
        return self._proxy.bytes_per_second if self._bytes_per_second is None else self._bytes_per_second

    def joined(self, side: Side) -> None:
        """A side has its transport."""
        stays = self._proxy.accept(self) if side is self.client else not self.abandoned
        if not stays:
            side.reset()
            return
        side.inward.sink = side.outward.source = side.transport
        self.flush()

    def left(self, side: Side) -> None:
        """A side is gone; the other learns it by the same way as everything else."""
        side.inward.sink = side.outward.source = None
        other = self.server if side is self.client else self.client
        if other.transport is None:
            self._finish()
        elif not (self.up.over and self.down.over):
            side.outward.take(_End.RESET)

    def ended(self) -> None:
        """The end of a stream was passed on; after both, the link is over."""
        if self.up.over and self.down.over:
            for side in (self.client, self.server):
                side.close()

    def _finish(self) -> None:
        self.up.stop()
        self.down.stop()
        self._proxy.forget(self)

    def _connect(self) -> None:
        # With a black hole upwards, the server does not even learn of the attempt.
        if not self._connects and not self.withholds("up"):
            self._connects = True
            self._proxy.connect(self)


class Way:
    """One direction of a link: a line in which things wait for their time, for room, for a fault to end."""

    def __init__(self, link: Link, direction: Direction, transform: Transform | None) -> None:
        self.source: asyncio.Transport | None = None
        self.sink: asyncio.Transport | None = None
        self.over = False
        self._link = link
        self._direction: Direction = direction
        self._transform = transform
        self.waiting = 0
        """Bytes in the line."""
        self._line: deque[tuple[float, bytes | _End]] = deque()
        self._sink_is_full = False
        self._source_is_paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._tokens = 0.0
        self._counted_at = 0.0
        self._now = asyncio.get_running_loop().time

    @property
    def items(self) -> int:
        """How many things wait: pieces, the end of the stream, a reset."""
        return len(self._line)

    def take(self, item: bytes | _End) -> None:
        """Something came from the source."""
        if self._transform is not None and isinstance(item, bytes):
            item = self._transform(item)
            if not item:
                return
        self._line.append((self._now() + self._link.latency(), item))
        self.waiting += len(item) if isinstance(item, bytes) else 0
        self.flush()

    def flush(self) -> None:
        """Pass on what may pass now, and come back for the rest."""
        self.stop()
        while self._line and self.sink is not None and not self._link.withholds(self._direction):
            # A reset overtakes what is not read, and nothing else.
            due, item = self._line[-1 if self._sink_is_full else 0]
            if self._sink_is_full and item is not _End.RESET:
                break
            wait = max(due - self._now(), self._shortage(item))
            if wait > 0:
                self._timer = asyncio.get_running_loop().call_later(wait, self.flush)
                break
            self._pass(item, self.sink)
        self._balance()

    def release(self) -> None:
        """Let the travelling arrive at once, and flow what waits."""
        self._line = deque((0.0, item) for _, item in self._line)
        self._link.flush()

    def stop(self) -> None:
        """Do not come back by itself."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def fill(self, is_full: bool) -> None:
        """The sink has no room, or has some again."""
        self._sink_is_full = is_full
        self.flush()

    def _pass(self, item: bytes | _End, sink: asyncio.Transport) -> None:
        if item is _End.RESET:
            self._line.clear()
            self.waiting = 0
            _reset(sink)
        elif item is _End.STREAM:
            self._line.popleft()
            self.over = True
            sink.write_eof()
            self._link.ended()
        else:
            assert isinstance(item, bytes)
            due, _ = self._line.popleft()
            if self._link.rate(self._direction) is not None and len(item) > self._tokens:
                item, rest = item[: int(self._tokens)], item[int(self._tokens) :]
                self._line.appendleft((due, rest))
            self._tokens -= len(item)
            self.waiting -= len(item)
            sink.write(item)

    def _shortage(self, item: bytes | _End) -> float:
        """Return the seconds until the rate allows a piece of this, worth a write."""
        rate = self._link.rate(self._direction)
        if rate is None or not isinstance(item, bytes):
            return 0.0
        now = self._now()
        self._tokens = min(max(1.0, rate * _BURST_SECONDS), self._tokens + (now - self._counted_at) * rate)
        self._counted_at = now
        piece = min(len(item), max(1.0, rate * _TICK_SECONDS))
        # A microsecond more than it should take, so that rounding does not bring us here again.
        return (piece - self._tokens) / rate + 1e-6 if self._tokens < piece else 0.0

    def _balance(self) -> None:
        """Read the source no further when too much waits."""
        if self.source is None or self.source.is_closing():
            return
        if self.waiting > _LINE_BYTES and not self._source_is_paused:
            self._source_is_paused = True
            self.source.pause_reading()
        elif self.waiting <= _LINE_BYTES // 2 and self._source_is_paused:
            self._source_is_paused = False
            self.source.resume_reading()


class Side(asyncio.Protocol):
    """One end of a link: what comes from it goes into one way, what the other way brings goes to it."""

    def __init__(self, link: Link, outward: Way, inward: Way) -> None:
        self.outward = outward
        self.inward = inward
        self.transport: asyncio.Transport | None = None
        self._link = link

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only
        raw: socket.socket = transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BYTES)
        self._link.joined(self)

    def data_received(self, data: bytes) -> None:
        self.outward.take(data)

    def eof_received(self) -> bool:
        self.outward.take(_End.STREAM)
        return True  # the other direction may live on

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's
        self.transport = None
        self._link.left(self)

    def pause_writing(self) -> None:
        self.inward.fill(True)

    def resume_writing(self) -> None:
        self.inward.fill(False)

    @property
    def unsent(self) -> int:
        """Bytes that this end was given and has not taken."""
        return 0 if self.transport is None else self.transport.get_write_buffer_size()

    def close(self) -> None:
        """End after what was written."""
        if self.transport is not None:
            self.transport.close()

    def reset(self) -> None:
        """End at once."""
        if self.transport is not None:
            _reset(self.transport)


def _reset(transport: asyncio.Transport) -> None:
    raw: socket.socket = transport.get_extra_info("socket")
    with contextlib.suppress(OSError, ValueError):  # it is closed already, and its end on the way to us
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()
