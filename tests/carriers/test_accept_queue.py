"""The accept queue: waiting handshakes run in order, a few at a turn, and one that raises stops no other."""

from __future__ import annotations

import asyncio

import pytest

from flowcraft.adapters.request_socket import HANDSHAKES_PER_TURN, AcceptQueue
from flowcraft.adapters.websocket import WebSocketConnection
from tests.support.carriers import QUICK, make_node, until

UPGRADE = (
    b"GET /realtime?channel=ping_update HTTP/1.1\r\nHost: localhost\r\n"
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Writes(asyncio.Transport):
    """A transport that keeps what is written, each write by itself."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def get_protocol(self) -> asyncio.BaseProtocol:
        return asyncio.Protocol()


async def test_a_client_gets_the_answers_to_its_request_in_one_packet() -> None:
    node, _ = make_node(QUICK, None)
    node.start()
    await node.until_accepting()
    transport = Writes()
    connection = WebSocketConnection(node, "/realtime", lambda _path, _headers: None, AcceptQueue())
    connection.connection_made(transport)
    connection.data_received(UPGRADE)
    await until(lambda: bool(transport.written))
    (packet,) = transport.written
    assert packet.startswith(b"HTTP/1.1 101 ")
    assert packet.index(b'"hello"') < packet.index(b'{"subscribed":["ping_update"]')
    connection.ping()
    assert len(transport.written) == 2  # from now on each at once
    connection.connection_lost(None)
    await node.stop()


async def test_everything_else_has_its_turn_between_two_groups_of_handshakes() -> None:
    accept_queue, order = AcceptQueue(), list[str]()
    for number in range(2 * HANDSHAKES_PER_TURN + 1):
        accept_queue.put(lambda number=number: order.append(str(number)))  # type: ignore[misc]
    loop = asyncio.get_running_loop()
    for _ in range(3):
        loop.call_soon(order.append, "other")
        await asyncio.sleep(0)
    handshakes = [name for name in order if name != "other"]
    assert handshakes == [str(number) for number in range(2 * HANDSHAKES_PER_TURN + 1)]
    assert order.index("other") == HANDSHAKES_PER_TURN


async def test_a_handshake_that_raises_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    accept_queue, came = AcceptQueue(), list[int]()

    def fail() -> None:
        raise ValueError("no luck")

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: came.append(-1))
    for number in range(HANDSHAKES_PER_TURN):
        accept_queue.put(lambda number=number: came.append(number))  # type: ignore[misc]
    accept_queue.put(fail)
    for number in range(HANDSHAKES_PER_TURN):
        accept_queue.put(lambda number=number: came.append(number))  # type: ignore[misc]
    for _ in range(5):
        await asyncio.sleep(0)
    assert came.count(-1) == 1
    assert sorted(came) == [-1, *sorted(2 * [*range(HANDSHAKES_PER_TURN)])]
