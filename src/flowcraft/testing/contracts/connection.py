"""ConnectionContract: the guarantees of a carrier for one client's connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeAlias

import pytest

from flowcraft.carrier_ports import Connection, Entrance, NodePort
from flowcraft.core.counts import Counts
from flowcraft.settings import Settings

_SECONDS = 20.0
_STUCK_SECONDS = 0.3
"""A carrier that stays unwritable for this long is waiting for a client that does not read."""
_BIG = b"x" * 65_536
_MOST_MESSAGES = 2_000


class CarrierClient(Protocol):
    """The client's end of one connection. It reads no more than `receive` asks for."""

    async def send(self) -> str:
        """Send a message, if the carrier can; return the last message that was sent."""
        ...

    async def receive(self) -> bytes:
        """Return the next message."""
        ...

    async def until_closed(self) -> int:
        """Read to the end; return the server's close code."""
        ...

    async def abort(self) -> None:
        """Drop the connection without a close frame."""
        ...


class RecordingGateway:
    """Implements `flowcraft.carrier_ports.GatewayPort`: records what a carrier reports."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.writables = 0
        self.is_closed = False
        self.is_unresponsive = False
        self._changed = asyncio.Event()

    def received(self, message: str) -> None:
        self.messages.append(message)
        self._changed.set()

    def writable(self) -> None:
        self.writables += 1
        self._changed.set()

    @property
    def message_bytes(self) -> int:
        return Settings().message_bytes

    def unresponsive(self) -> None:
        self.is_unresponsive = True
        self._changed.set()

    def closed(self) -> None:
        self.is_closed = True
        self._changed.set()

    async def until(self, condition: Callable[[], bool], seconds: float | None = None) -> None:
        """Wait for a report of the carrier.

        Raises:
            TimeoutError: the report did not arrive in time.
        """
        async with asyncio.timeout(_SECONDS if seconds is None else seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


class RecordingNode:
    """Implements `flowcraft.carrier_ports.NodePort`: accepts one connection."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.accepting = True
        self.counts = Counts()
        self.gateway = RecordingGateway()
        self._connected: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()

    def has_place_for(self, address: str) -> bool:  # noqa: ARG002  # the port's
        return True

    def begin_drain(self, within: float | None = None) -> None:
        pass

    def connect(
        self,
        connection: Connection,
        channels: Sequence[str] = (),  # noqa: ARG002  # the port's
        since: str | None = None,  # noqa: ARG002  # the port's
        entrance: Entrance | None = None,
    ) -> RecordingGateway:
        if entrance is not None:
            entrance.decided()
        self._connected.set_result(connection)
        return self.gateway

    async def connection(self) -> Connection:
        """Return the connection, once the carrier has connected it."""
        async with asyncio.timeout(_SECONDS):
            return await asyncio.shield(self._connected)


OpenCarrier: TypeAlias = Callable[[NodePort], AbstractAsyncContextManager[CarrierClient]]
"""Serves a node, and connects one client."""


class ConnectionContract:
    """The guarantees of `carrier_ports.Connection`, and of a carrier's calls of its `GatewayPort`."""

    @pytest.fixture
    def open_carrier(self) -> OpenCarrier:
        raise NotImplementedError("override this fixture: return a function that connects a client")

    async def test_messages_arrive_in_order_and_then_nothing_waits(self, open_carrier: OpenCarrier) -> None:
        node = RecordingNode()
        async with open_carrier(node) as client:
            connection = await node.connection()
            await _send(node, b'{"n":1}', b'{"n":2}')
            await _send(node, b'{"n":3}')
            assert [await client.receive() for _ in range(3)] == [b'{"n":1}', b'{"n":2}', b'{"n":3}']
            assert connection.waiting_bytes == 0

    async def test_a_message_of_the_client_is_reported(self, open_carrier: OpenCarrier) -> None:
        node = RecordingNode()
        async with open_carrier(node) as client:
            sent = await client.send()
            await node.gateway.until(lambda: sent in node.gateway.messages)
            assert node.gateway.messages.count(sent) == 1

    async def test_what_the_client_does_not_read_waits_until_the_carrier_is_writable(
        self, open_carrier: OpenCarrier
    ) -> None:
        node = RecordingNode()
        async with open_carrier(node) as client:
            connection = await node.connection()
            sent = await _send_until_stuck(node)
            assert connection.waiting_bytes > 0
            before = node.gateway.writables
            async with asyncio.timeout(_SECONDS):
                for n in range(sent):
                    assert await client.receive() == _big(n)
            await node.gateway.until(lambda: node.gateway.writables > before)
            assert connection.waiting_bytes == 0

    async def test_it_closes_after_what_was_sent_and_after_the_rest(self, open_carrier: OpenCarrier) -> None:
        node = RecordingNode()
        async with open_carrier(node) as client, asyncio.timeout(_SECONDS):
            connection = await node.connection()
            connection.try_send(connection.framing([b'{"n":1}']))
            connection.close(4408, "enough", connection.framing([b'{"n":2}']))
            connection.close(4002, "again")
            assert [await client.receive() for _ in range(2)] == [b'{"n":1}', b'{"n":2}']
            assert await client.until_closed() == 4408
            await node.gateway.until(lambda: node.gateway.is_closed)

    async def test_a_client_that_does_not_read_is_closed_all_the_same(
        self, open_carrier: OpenCarrier
    ) -> None:
        node = RecordingNode()
        async with open_carrier(node):
            await _send_until_stuck(node)
            (await node.connection()).close(4408, "too slow")
            await node.gateway.until(lambda: node.gateway.is_closed)

    async def test_a_client_that_is_gone_is_reported_and_raises_nothing(
        self, open_carrier: OpenCarrier
    ) -> None:
        node = RecordingNode()
        async with open_carrier(node) as client:
            connection = await node.connection()
            await client.abort()
            await node.gateway.until(lambda: node.gateway.is_closed)
            connection.try_send(connection.framing([b'{"n":1}']))
            connection.ping()
            connection.close(1000, "late")

    async def test_a_ping_disturbs_nothing(self, open_carrier: OpenCarrier) -> None:
        node = RecordingNode()
        async with open_carrier(node) as client:
            (await node.connection()).ping()
            await _send(node, b'{"n":1}')
            assert await client.receive() == b'{"n":1}'
            assert (node.gateway.is_unresponsive, node.gateway.is_closed) == (False, False)

    async def test_its_address_names_the_client_in_log_lines(self, open_carrier: OpenCarrier) -> None:
        node = RecordingNode()
        async with open_carrier(node):
            host, _, port = (await node.connection()).address.rpartition(":")
            assert (host, port.isdigit()) == ("127.0.0.1", True)


async def _send(node: RecordingNode, *messages: bytes) -> None:
    """Send messages, and wait until the carrier is writable again."""
    connection, before = await node.connection(), node.gateway.writables
    if connection.try_send(connection.framing(messages)):
        await node.gateway.until(lambda: node.gateway.writables > before)


async def _send_until_stuck(node: RecordingNode) -> int:
    """Send to a client that does not read until the carrier stays unwritable; return the message count."""
    connection = await node.connection()
    for n in range(_MOST_MESSAGES):
        before = node.gateway.writables
        if connection.try_send(connection.framing([_big(n)])):
            try:
                await node.gateway.until(lambda: node.gateway.writables > before, _STUCK_SECONDS)  # noqa: B023
            except TimeoutError:
                return n + 1
    pytest.fail(f"{_MOST_MESSAGES} messages of 64 KiB were sent to a client that does not read")


def _big(n: int) -> bytes:
    return b'{"n":%d,"big":"%b"}' % (n, _BIG)
