"""The contract of connections: a carrier that breaks a promise fails the test of that promise."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from flowcraft.adapters.asgi import json_sequence, split_sequence
from flowcraft.carrier_ports import GatewayPort, NodePort
from flowcraft.testing.contracts import CarrierClient, ConnectionContract, connection
from flowcraft.testing.contracts.connection import OpenCarrier

KERNEL_BYTES = 200_000


class Carrier:
    """A carrier in memory that keeps its promises. Messages go from `chunk` to `pipe` to the client."""

    framing = staticmethod(json_sequence)
    address = "127.0.0.1:1"
    is_direct = True

    def __init__(self, node: NodePort) -> None:
        self.pipe: deque[bytes] = deque()
        self.chunk: deque[bytes] = deque()
        self.code: int | None = None
        self.changed = asyncio.Event()
        self.gateway: GatewayPort = node.connect(self)

    def try_send(self, data: bytes) -> int:
        if self.code is None:
            self.chunk.extend(split_sequence(data))
            self.move()
        return self.waiting_bytes

    @property
    def waiting_bytes(self) -> int:
        return sum(map(len, self.chunk))

    def ping(self) -> None:
        """The client of a test is there."""

    def close(self, code: int, reason: str, rest: bytes = b"") -> None:  # the port's
        if self.code is None:
            self.pipe += [*self.chunk, *split_sequence(rest)]
            self.chunk.clear()
            self.code = code
            self.changed.set()
            self.gateway.closed()

    def move(self) -> None:
        waited = bool(self.chunk)
        while self.chunk and sum(map(len, self.pipe)) < KERNEL_BYTES:
            self.pipe.append(self.chunk.popleft())
        self.changed.set()
        if waited and not self.chunk:
            self.gateway.writable()

    # the client's side

    async def send(self) -> str:
        self.gateway.received("hello")
        return "hello"

    async def receive(self) -> bytes:
        while not self.pipe:
            self.changed.clear()
            await self.changed.wait()
        message = self.pipe.popleft()
        self.move()
        return message

    async def until_closed(self) -> int:
        while self.code is None:
            self.changed.clear()
            await self.changed.wait()
        return self.code

    async def abort(self) -> None:
        self.code = 1006
        self.gateway.closed()


class Reorders(Carrier):
    def try_send(self, data: bytes) -> int:
        self.chunk.extend(reversed(split_sequence(data)))
        self.move()
        return self.waiting_bytes


class ReportsTwice(Carrier):
    async def send(self) -> str:
        self.gateway.received("hello")
        return await super().send()


class NeverWritable(Carrier):
    def move(self) -> None:
        while self.chunk and sum(map(len, self.pipe)) < KERNEL_BYTES:
            self.pipe.append(self.chunk.popleft())
        self.changed.set()


class DropsTheRest(Carrier):
    def close(self, code: int, reason: str, rest: bytes = b"") -> None:  # that is the bug
        super().close(code, reason)


class WaitsForTheClient(Carrier):
    def close(self, code: int, reason: str, rest: bytes = b"") -> None:
        if not self.chunk:
            super().close(code, reason, rest)


class RaisesWhenGone(Carrier):
    def try_send(self, data: bytes) -> int:
        if self.code is not None:
            raise BrokenPipeError
        return super().try_send(data)


class ImpatientPing(Carrier):
    def ping(self) -> None:
        self.gateway.unresponsive()


class Nameless(Carrier):
    address = ""


BROKEN: dict[str, type[Carrier]] = {
    "test_messages_arrive_in_order_and_then_nothing_waits": Reorders,
    "test_a_message_of_the_client_is_reported": ReportsTwice,
    "test_what_the_client_does_not_read_waits_until_the_carrier_is_writable": NeverWritable,
    "test_it_closes_after_what_was_sent_and_after_the_rest": DropsTheRest,
    "test_a_client_that_does_not_read_is_closed_all_the_same": WaitsForTheClient,
    "test_a_client_that_is_gone_is_reported_and_raises_nothing": RaisesWhenGone,
    "test_a_ping_disturbs_nothing": ImpatientPing,
    "test_its_address_names_the_client_in_log_lines": Nameless,
}


def carried_by(kind: type[Carrier]) -> OpenCarrier:
    @asynccontextmanager
    async def opened(node: NodePort) -> AsyncIterator[CarrierClient]:
        yield kind(node)

    return opened


class TestCarrierInMemory(ConnectionContract):
    @pytest.fixture
    def open_carrier(self) -> OpenCarrier:
        return carried_by(Carrier)


@pytest.mark.parametrize("promise", BROKEN)
async def test_a_broken_carrier_fails_the_promise_that_it_breaks(
    promise: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_SECONDS", 0.5)
    monkeypatch.setattr(connection, "_STUCK_SECONDS", 0.05)
    with pytest.raises((AssertionError, TimeoutError, OSError)):
        await getattr(ConnectionContract(), promise)(carried_by(BROKEN[promise]))


def test_every_promise_has_a_carrier_that_breaks_it() -> None:
    assert {name for name in dir(ConnectionContract) if name.startswith("test_")} == set(BROKEN)
