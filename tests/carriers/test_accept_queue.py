"""The accept queue: handshakes run in order, a few at a turn; all requests have one timer."""

from __future__ import annotations

import asyncio
import itertools
import socket
from typing import cast

import pytest

from flowcraft.adapters.request_socket import (
    HANDSHAKES_PER_TURN,
    AcceptQueue,
    RequestDeadlines,
    RequestSocket,
)
from flowcraft.adapters.websocket import WebSocketConnection
from flowcraft.entrypoints.serve import Server
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


async def test_handshakes_that_arrive_one_a_turn_are_gathered_and_one_alone_does_not_wait_long() -> None:
    accept_queue, ran, turns = AcceptQueue(), list[tuple[int, int]](), itertools.count()
    turn = [next(turns)]

    def arrive(number: int) -> None:
        accept_queue.put(lambda: ran.append((turn[0], number)))

    async def until_all_have_run(count: int) -> None:
        while len(ran) < count:
            turn[0] = next(turns)
            await asyncio.sleep(0)

    for number in range(HANDSHAKES_PER_TURN):
        arrive(number)
        await asyncio.sleep(0)
        turn[0] = next(turns)
    await until_all_have_run(HANDSHAKES_PER_TURN)
    assert [number for _, number in ran] == [*range(HANDSHAKES_PER_TURN)]
    assert len({turn for turn, _ in ran}) < HANDSHAKES_PER_TURN / 4  # a few groups, if the machine is busy
    before = turn[0]
    arrive(HANDSHAKES_PER_TURN)
    await until_all_have_run(HANDSHAKES_PER_TURN + 1)
    assert turn[0] - before <= 3


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


class Late:
    """A socket whose request does not arrive."""

    def __init__(self, name: str, order: list[str], *, fails: bool = False) -> None:
        self._name, self._order, self._fails = name, order, fails

    def time_out(self) -> None:
        self._order.append(self._name)
        if self._fails:
            raise ValueError("no luck")


async def test_requests_that_do_not_arrive_time_out_in_order_and_one_that_raises_stops_no_other() -> None:
    deadlines, order = RequestDeadlines(), list[str]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: None)
    late = [Late("one", order), Late("two", order, fails=True), Late("three", order), Late("four", order)]
    socks = cast(list[RequestSocket], late)
    for sock in socks:
        deadlines.add(sock, 0.02)
    deadlines.discard(socks[2])
    await until(lambda: len(order) == 3)
    assert order == ["one", "two", "four"]
    deadlines.add(socks[2], 0.02)  # also after all others have ended
    await until(lambda: len(order) == 4)
    assert order[-1] == "three"


async def test_the_kernel_buffers_as_little_for_each_accepted_client_as_the_listening_socket_says() -> None:
    node, _ = make_node(QUICK, None)
    node.start()
    await node.until_accepting()
    server, accepted = Server(node, "127.0.0.1", 0), list[socket.socket]()
    made = WebSocketConnection.connection_made

    def connection_made(self: WebSocketConnection, transport: asyncio.BaseTransport) -> None:
        made(self, transport)
        accepted.append(transport.get_extra_info("socket"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WebSocketConnection, "connection_made", connection_made)
        await server.start()
        host, port = server.address.removeprefix("ws://").partition("/")[0].split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        await until(lambda: bool(accepted))
    size = accepted[0].getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    assert size in (256 * 1024, 2 * 256 * 1024)  # Linux counts its own use of it too
    writer.close()
    server.close()
    await node.stop()
