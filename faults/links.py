"""Links: the connections of a fault proxy, with an ordered queue in each direction.

A link has two ways, up to the server and down to the client. A way is a queue of bytes, the end of the stream
and a reset, so that a fault delays all three: a black hole hides even the end of a connection. Queues are
bounded: when the far end does not read, or a fault withholds everything, the near end is not read either.
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
"""Called with each piece of one stream, in order; returns the bytes to pass on."""

_QUEUE_BYTES = 512 * 1024
"""Bytes in one queue at which reading from its source pauses; with latency, the bytes in flight."""
_SOCKET_BYTES = 256 * 1024
"""Kernel buffers: they hide this many unsent bytes from the other side, by default several megabytes."""
_TICK_SECONDS, _BURST_SECONDS = 0.02, 0.1
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class _End(Enum):
    STREAM = auto()
    RESET = auto()


class TcpPair(Protocol):
    """The proxy of a link: the faults that all links share, and the connection to a server."""

    latency_seconds: float
    transform_down: Callable[[], Transform] | None

    @property
    def bytes_per_second(self) -> float | None:
        """The rate of each connection, down to the client."""
        ...

    def withholds(self, direction: Direction) -> bool:
        """Return whether this direction withholds everything."""
        ...

    def accept(self, link: Link) -> bool:
        """Accept a client's connection; return whether it may stay."""
        ...

    def connect(self, link: Link) -> None:
        """Connect a link to a server."""
        ...

    def forget(self, link: Link) -> None:
        """Remove a link whose connections have both ended."""
        ...


class Link:
    """One connection through a proxy. Its own faults come on top of the proxy's."""

    def __init__(self, proxy: TcpPair) -> None:
        self.latency_seconds: float | None = None
        """Overrides the proxy's latency."""
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
        """The rate down to the client; overrides the proxy's."""
        return self._bytes_per_second

    @bytes_per_second.setter
    def bytes_per_second(self, rate: float | None) -> None:
        self._bytes_per_second = rate
        self.flush()

    def black_hole(self, *directions: Direction) -> None:
        """Withhold everything, in both directions if none is named."""
        self._withheld.update(directions or ("up", "down"))

    def heal(self) -> None:
        """End the faults of this link; withheld bytes flow on, unless the proxy withholds them."""
        self._withheld.clear()
        self._bytes_per_second = None
        self.latency_seconds = None
        for way in (self.up, self.down):
            way.release()

    def reset(self) -> None:
        """Reset both connections. Over a Unix socket, the server sees the end of the stream instead."""
        for side in (self.client, self.server):
            side.reset()

    @property
    def abandoned(self) -> bool:
        """Whether the client's connection has ended."""
        return self.client.transport is None

    def flush(self) -> None:
        """Pass on what may pass now, in both directions."""
        self._connect()
        self.up.flush()
        self.down.flush()

    def withholds(self, direction: Direction) -> bool:
        """Return whether this direction withholds everything."""
        return direction in self._withheld or self._proxy.withholds(direction)

    def latency(self) -> float:
        """Return the latency of a piece in seconds."""
        return self._proxy.latency_seconds if self.latency_seconds is None else self.latency_seconds

    def rate(self, direction: Direction) -> float | None:
        """Return the rate in bytes per second."""
        if direction == "up":
            return None
        return self._proxy.bytes_per_second if self._bytes_per_second is None else self._bytes_per_second

    def joined(self, side: Side) -> None:
        """Take note that a side is connected."""
        stays = self._proxy.accept(self) if side is self.client else not self.abandoned
        if not stays:
            side.reset()
            return
        side.inward.sink = side.outward.source = side.transport
        self.flush()

    def left(self, side: Side) -> None:
        """Take note that a side is disconnected; the other learns of it through the queue."""
        side.inward.sink = side.outward.source = None
        other = self.server if side is self.client else self.client
        if other.transport is None:
            self._finish()
        elif not (self.up.over and self.down.over):
            side.outward.take(_End.RESET)

    def ended(self) -> None:
        """Take note that the end of a stream was passed on; after both ends, the link closes."""
        if self.up.over and self.down.over:
            for side in (self.client, self.server):
                side.close()

    def _finish(self) -> None:
        self.up.stop()
        self.down.stop()
        self._proxy.forget(self)

    def _connect(self) -> None:
        # With a black hole upwards, the server does not even see the connection.
        if not self._connects and not self.withholds("up"):
            self._connects = True
            self._proxy.connect(self)


class Way:
    """One direction of a link: a queue whose items wait for latency, for room, or for a fault to end."""

    def __init__(self, link: Link, direction: Direction, transform: Transform | None) -> None:
        self.source: asyncio.Transport | None = None
        self.sink: asyncio.Transport | None = None
        self.over = False
        self._link = link
        self._direction: Direction = direction
        self._transform = transform
        self.waiting = 0
        """Bytes in the queue."""
        self._queue: deque[tuple[float, bytes | _End]] = deque()
        self._sink_is_full = False
        self._source_is_paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._tokens = 0.0
        self._counted_at = 0.0
        self._now = asyncio.get_running_loop().time

    @property
    def items(self) -> int:
        """The number of queued items: pieces, the end of the stream, a reset."""
        return len(self._queue)

    def take(self, item: bytes | _End) -> None:
        """Queue an item from the source."""
        if self._transform is not None and isinstance(item, bytes):
            item = self._transform(item)
            if not item:
                return
        self._queue.append((self._now() + self._link.latency(), item))
        self.waiting += len(item) if isinstance(item, bytes) else 0
        self.flush()

    def flush(self) -> None:
        """Pass on what may pass now, and schedule the rest."""
        self.stop()
        while self._queue and self.sink is not None and not self._link.withholds(self._direction):
            # A reset overtakes bytes that the sink does not read, and nothing else.
            due, item = self._queue[-1 if self._sink_is_full else 0]
            if self._sink_is_full and item is not _End.RESET:
                break
            wait = max(due - self._now(), self._shortage(item))
            if wait > 0:
                self._timer = asyncio.get_running_loop().call_later(wait, self.flush)
                break
            self._pass(item, self.sink)
        self._balance()

    def release(self) -> None:
        """Deliver items without their remaining latency."""
        self._queue = deque((0.0, item) for _, item in self._queue)
        self._link.flush()

    def stop(self) -> None:
        """Cancel the scheduled flush."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def fill(self, is_full: bool) -> None:
        """Take note that the sink is full, or has room again."""
        self._sink_is_full = is_full
        self.flush()

    def _pass(self, item: bytes | _End, sink: asyncio.Transport) -> None:
        if item is _End.RESET:
            self._queue.clear()
            self.waiting = 0
            _reset(sink)
        elif item is _End.STREAM:
            self._queue.popleft()
            self.over = True
            sink.write_eof()
            self._link.ended()
        else:
            assert isinstance(item, bytes)
            due, _ = self._queue.popleft()
            if self._link.rate(self._direction) is not None and len(item) > self._tokens:
                item, rest = item[: int(self._tokens)], item[int(self._tokens) :]
                self._queue.appendleft((due, rest))
            self._tokens -= len(item)
            self.waiting -= len(item)
            sink.write(item)

    def _shortage(self, item: bytes | _End) -> float:
        """Return the seconds until the rate allows a piece large enough for a write."""
        rate = self._link.rate(self._direction)
        if rate is None or not isinstance(item, bytes):
            return 0.0
        now = self._now()
        self._tokens = min(max(1.0, rate * _BURST_SECONDS), self._tokens + (now - self._counted_at) * rate)
        self._counted_at = now
        piece = min(len(item), max(1.0, rate * _TICK_SECONDS))
        # A microsecond more than necessary, so that rounding does not cause another wait.
        return (piece - self._tokens) / rate + 1e-6 if self._tokens < piece else 0.0

    def _balance(self) -> None:
        """Pause reading from the source while the queue is too long."""
        if self.source is None or self.source.is_closing():
            return
        if self.waiting > _QUEUE_BYTES and not self._source_is_paused:
            self._source_is_paused = True
            self.source.pause_reading()
        elif self.waiting <= _QUEUE_BYTES // 2 and self._source_is_paused:
            self._source_is_paused = False
            self.source.resume_reading()


class Side(asyncio.Protocol):
    """One end of a link: reads into the outward way and writes from the inward way."""

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
        return True  # the other direction stays open

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's
        self.transport = None
        self._link.left(self)

    def pause_writing(self) -> None:
        self.inward.fill(True)

    def resume_writing(self) -> None:
        self.inward.fill(False)

    @property
    def unsent(self) -> int:
        """Bytes in the transport's write buffer."""
        return 0 if self.transport is None else self.transport.get_write_buffer_size()

    def close(self) -> None:
        """Close after the written bytes are sent."""
        if self.transport is not None:
            self.transport.close()

    def reset(self) -> None:
        """Reset the connection."""
        if self.transport is not None:
            _reset(self.transport)


def _reset(transport: asyncio.Transport) -> None:
    raw: socket.socket = transport.get_extra_info("socket")
    # The socket may be closed already, and connection_lost about to be called.
    with contextlib.suppress(OSError, ValueError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()
