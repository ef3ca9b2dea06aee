"""Input slices: a protocol gets what arrives a little at a turn, and all of it."""

from __future__ import annotations

import asyncio
import socket

import pytest

from flowcraft.adapters.input_slices import InputSlices


class Slow:
    """A protocol that takes a time for each byte, by the clock of the test."""

    def __init__(self, seconds_per_byte: float) -> None:
        self.seconds_per_byte = seconds_per_byte
        self.now = 0.0
        self.taken: list[float] = []
        self.data = b""
        self.has_all = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.now += len(data) * self.seconds_per_byte
        self.taken.append(len(data) * self.seconds_per_byte)
        self.data += data
        if len(self.data) == len(DATA):
            self.has_all.set()


DATA = bytes(range(256)) * 1000


@pytest.mark.parametrize("microseconds", [0.01, 0.2, 2.5, 5])
async def test_a_slice_is_as_long_as_what_is_parsed_in_two_milliseconds(
    microseconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Empty pings take wsproto 2.5 microseconds a byte, long messages a hundredth of that."""
    protocol = Slow(microseconds / 1e6)
    monkeypatch.setattr("flowcraft.adapters.input_slices.time.perf_counter", lambda: protocol.now)
    ours, theirs = socket.socketpair()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    InputSlices(protocol).take(DATA, transport)
    await asyncio.wait_for(protocol.has_all.wait(), 10)
    assert protocol.data == DATA
    assert max(protocol.taken[5:]) <= 0.002
    assert microseconds > 0.1 or len(protocol.taken) < 30
    transport.close()
    theirs.close()
