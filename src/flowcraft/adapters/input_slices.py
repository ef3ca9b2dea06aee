"""Input slices: pass what arrives on a socket to uvicorn's protocol, a little at a turn of the event loop.

uvicorn, on two of its three libraries, parses all that it is given at once: the 40,000 empty messages of one
read take half a second or more, in which no other client is served. A slice is as long as what is parsed in
2 ms, on this machine and with this library.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

_LEAST_BYTES, _MOST_BYTES = 256, 16_384
_SECONDS_PER_TURN = 0.002
"""The time of one client in a turn: of empty frames wsproto parses a hundredth of the bytes of long ones."""


class InputSlices:
    """Passes bytes on. `stop` drops what has not been passed on, and what arrives later."""

    def __init__(self, protocol: Any) -> None:  # noqa: ANN401  # one of three classes, in many versions
        self._protocol = protocol
        self._arrived = bytearray()
        self._bytes_per_turn = 4096
        self._is_stopped = False
        self._transport: asyncio.Transport | None = None

    def take(self, data: bytes, transport: asyncio.Transport | None) -> None:
        """Pass on what has arrived, at once if it is little."""
        self._transport = transport
        if self._is_stopped:
            return
        if not self._arrived and len(data) <= self._bytes_per_turn:
            self._pass(data)
            return
        self._arrived += data
        if len(self._arrived) == len(data):  # nothing waited for its turn
            self._pass_on()

    def stop(self) -> None:
        """Pass nothing on any longer: the client sends too much."""
        self._is_stopped = True
        self._arrived.clear()

    def finish(self) -> None:
        """Pass on all that is left: nothing more will arrive."""
        if self._arrived:
            self._protocol.data_received(bytes(self._arrived))
            self._arrived.clear()

    def _pass(self, part: bytes) -> None:
        began = time.perf_counter()
        self._protocol.data_received(part)
        taken = time.perf_counter() - began
        if taken > _SECONDS_PER_TURN:
            self._bytes_per_turn = max(_LEAST_BYTES, min(len(part), self._bytes_per_turn) // 2)
        elif taken < _SECONDS_PER_TURN / 4 and len(part) == self._bytes_per_turn:
            self._bytes_per_turn = min(_MOST_BYTES, 2 * self._bytes_per_turn)

    def _pass_on(self) -> None:
        part, transport = bytes(self._arrived[: self._bytes_per_turn]), self._transport
        if not part or transport is None or transport.is_closing():
            self._arrived.clear()
            return
        self._pass(part)
        del self._arrived[: len(part)]
        if self._arrived:
            if transport.is_reading():
                transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._pass_on)
        elif not self._is_paused():  # or uvicorn resumes it
            transport.resume_reading()

    def _is_paused(self) -> bool:
        """Return whether uvicorn has paused the transport itself, or by its stream (legacy websockets)."""
        reader = getattr(self._protocol, "reader", None)
        return bool(getattr(self._protocol, "read_paused", False) or getattr(reader, "_paused", False))


class SlicedProtocol(asyncio.Protocol):
    """Stands between a transport and uvicorn's protocol, which reads, writes and closes."""

    def __init__(self, protocol: Any) -> None:  # noqa: ANN401
        self._protocol = protocol
        self._slices = InputSlices(protocol)
        self._transport = cast(asyncio.Transport, protocol.transport)
        self._transport.set_protocol(self)

    def stop(self, seconds: float) -> None:
        """Read nothing any longer, and disconnect the client if it does not close within a time."""
        self._slices.stop()
        asyncio.get_running_loop().call_later(seconds, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        self._slices.take(data, self._transport)

    def eof_received(self) -> bool | None:
        self._slices.finish()
        keeps_open: bool | None = self._protocol.eof_received()
        return keeps_open

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._slices.stop()
        self._protocol.connection_lost(exc)
