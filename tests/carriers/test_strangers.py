"""Clients without a token: what they can make a server hold."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import re
import socket
import tracemalloc
import weakref
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

import pytest

from flowcraft.adapters import asgi_event_stream, sockets, uvicorn, websocket
from flowcraft.adapters.asgi import serve_websocket
from flowcraft.adapters.request_socket import AcceptQueue
from flowcraft.adapters.websocket import WebSocketConnection
from flowcraft.core.session import Session
from flowcraft.viewers import Viewer
from tests.support.carriers import QUICK, OpenStage, make_node, until
from tests.support.strangers import (
    AUTH,
    KIB,
    NO_TOKEN_YET,
    UNDECIDED,
    Answering,
    Made,
    closing,
    everywhere,
    for_an_hour,
    framed,
    never,
    ours,
    post,
    settle,
    stranger,
    streams,
    subscribing,
)

pytestmark = pytest.mark.asyncio


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> Made:
    return Made(monkeypatch, Session)


@pytest.fixture
def _soon_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait long for the close of a client that has sent too much: it is not read."""
    monkeypatch.setattr(websocket, "_CLOSING_SECONDS", 0.2)
    monkeypatch.setattr(uvicorn, "_CLOSING_SECONDS", 0.2)


class Peak:
    """How much memory this process has taken at most since it was made, beyond what it had then (proc(5))."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        self._before = self._read()

    def bytes(self) -> int:
        return self._read() - self._before

    def _read(self) -> int:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        assert found is not None
        return int(found[1]) * KIB


@everywhere
@pytest.mark.parametrize(
    ("frames", "close"),
    [
        ([settle()] * 17, NO_TOKEN_YET),
        ([settle(256)] * 16 + [settle()], NO_TOKEN_YET),
        ([settle(4 * KIB + 1)], NO_TOKEN_YET),
        ([settle(16 * KIB)], NO_TOKEN_YET),
        (["not JSON"] * 17, NO_TOKEN_YET),
        ([settle(16 * KIB + 1)], (1009, "message too big: at most 16384 bytes")),
        ([AUTH, *[settle()] * 257], UNDECIDED),
        ([AUTH, *[settle(60 * KIB)] * 5], UNDECIDED),
        ([AUTH, settle(64 * KIB + 1)], (1009, "message too big: at most 65536 bytes")),
    ],
)
@pytest.mark.usefixtures("_soon_closed")
async def test_one_message_too_many_or_too_long_closes_and_says_why(
    carrier: OpenStage, frames: list[str], close: tuple[int, str]
) -> None:
    async with carrier(QUICK, Answering(never)) as stage, stranger(stage) as (reader, writer):
        writer.write(b"".join(map(framed, frames)))
        assert await closing(reader, writer) == close
        await until(lambda: stage.node.report().connections == 0)


@everywhere
@pytest.mark.parametrize(
    "frames",
    [
        [settle()] * 16,
        [settle(256)] * 16,
        [settle(4 * KIB), AUTH.ljust(16 * KIB)],
        [AUTH, *[settle()] * 256],
        [AUTH, *[settle(64 * KIB)] * 4],
    ],
)
async def test_what_is_within_the_bounds_is_answered_once_a_token_is_accepted(
    carrier: OpenStage, frames: list[str], sessions: Made
) -> None:
    released = asyncio.Event()

    async def when_released() -> Viewer:
        await released.wait()
        return await for_an_hour()

    sent = sum(len(frame) for frame in frames if "settle" in frame)
    async with carrier(QUICK, Answering(when_released)) as stage, stranger(stage) as (reader, writer):
        writer.write(b"".join(map(framed, frames)))
        await until(lambda: sessions.waiting_bytes() == [sent])
        if not any("auth" in frame for frame in frames):
            writer.write(framed(AUTH))
        released.set()
        for _ in range(sum("settle" in frame for frame in frames)):
            await reader.readuntil(b'{"settled":"1"')


@everywhere
async def test_a_flood_of_strangers_takes_next_to_nothing(carrier: OpenStage, sessions: Made) -> None:
    message = framed(subscribing(60 * KIB))  # 0.6 MB once it is parsed
    async with carrier(QUICK, Answering(never)) as stage, contextlib.AsyncExitStack() as stack:
        strangers = [await stack.enter_async_context(stranger(stage)) for _ in range(10)]
        peak = Peak()
        for _, writer in strangers:
            with contextlib.suppress(ConnectionError):
                for _ in range(32):
                    writer.write(message)
                    await writer.drain()
        closes = await asyncio.gather(*itertools.starmap(closing, strangers))
        assert peak.bytes() < 16 * KIB * KIB
        assert closes == [(1009, "message too big: at most 16384 bytes")] * 10
        await until(lambda: sessions.waiting_bytes() == [])


@everywhere
async def test_a_crowd_of_strangers_at_their_limit_holds_four_kib_each(
    carrier: OpenStage, sessions: Made
) -> None:
    most = framed(settle(256)) * 16
    async with carrier(QUICK, Answering(never)) as stage, contextlib.AsyncExitStack() as stack:
        for _ in range(50):
            _, writer = await stack.enter_async_context(stranger(stage))
            writer.write(most)
        await until(lambda: sessions.waiting_bytes() == [4 * KIB] * 50)
        await stack.aclose()
        await until(lambda: sessions.waiting_bytes() == [])
        assert stage.node.report().connections == 0


@ours
@pytest.mark.parametrize(
    "begun",
    [
        bytes((0x81, 0xFE)) + (16 * KIB + 1).to_bytes(2, "big"),
        framed("x" * 10 * KIB, 0x01) + bytes((0x80, 0xFE)) + (6 * KIB + 1).to_bytes(2, "big"),
        framed("x" * 16 * KIB, 0x01) + framed("x", 0x00),
    ],
    ids=["whole", "second fragment", "tiny fragment"],
)
async def test_a_message_longer_than_a_token_is_refused_before_it_has_come(
    carrier: OpenStage, begun: bytes
) -> None:
    async with carrier(QUICK, Answering(never)) as stage, stranger(stage) as (reader, writer):
        writer.write(begun)
        assert await closing(reader, writer) == (1009, "message too big: at most 16384 bytes")


@ours
async def test_a_token_and_a_long_message_may_come_in_one_packet(carrier: OpenStage) -> None:
    async with carrier(QUICK, Answering(for_an_hour)) as stage, stranger(stage) as (reader, writer):
        writer.write(framed(AUTH) + framed(settle(64 * KIB)))
        await reader.readuntil(b'{"settled":"1"')


@everywhere
async def test_where_no_token_is_required_long_messages_are_taken_at_once(carrier: OpenStage) -> None:
    async with carrier(QUICK, None) as stage, stranger(stage) as (reader, writer):
        writer.write(framed(settle(64 * KIB)) * 40)
        for _ in range(40):
            await reader.readuntil(b'{"settled":"1"')


# Event streams


@streams
@pytest.mark.parametrize(
    ("request_", "close"),
    [
        (post(*[settle()] * 17, AUTH), NO_TOKEN_YET),
        (post(settle(4 * KIB + 1), AUTH), NO_TOKEN_YET),
        (post(settle(16 * KIB + 1), AUTH), (1009, "message too big: at most 16384 bytes before a token")),
        (post(AUTH, *[settle(64 * KIB - 4)] * 4, query="?channel=ping_update"), UNDECIDED),
        (post(*[settle()] * 256, query="?channel=ping_update", Authorization="Bearer t"), UNDECIDED),
        (post(AUTH, query="?" + "channel=ping_update" * 300), NO_TOKEN_YET),
    ],
    ids=["many", "long", "too long", "behind a token", "behind a header", "URL"],
)
async def test_an_event_stream_has_the_same_bounds(
    carrier: OpenStage, request_: bytes, close: tuple[int, str], sessions: Made
) -> None:
    async with carrier(QUICK, Answering(never)) as stage, stranger(stage, request_) as (reader, _):
        code, reason = close
        await reader.readuntil(b'event: close\ndata: {"code":%d,"reason":"%s"}' % (code, reason.encode()))
        await until(lambda: stage.node.report().connections == 0 and sessions.waiting_bytes() == [])


@streams
async def test_a_body_that_does_not_arrive_is_not_waited_for(
    carrier: OpenStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi_event_stream, "REQUEST_SECONDS", 0.05)
    monkeypatch.setattr("flowcraft.adapters.request_socket.REQUEST_SECONDS", 0.05)
    slow = post(settle(1000))[:-10]
    async with carrier(QUICK, None) as stage, stranger(stage, slow) as (reader, _):
        with contextlib.suppress(ConnectionError):
            line = await reader.readline()
            assert line in {b"", b"HTTP/1.1 408 Request Timeout\r\n"}


@streams
async def test_a_stream_that_is_open_does_not_hold_its_request(carrier: OpenStage) -> None:
    request = post(*[settle(60 * KIB)] * 4)
    async with carrier(QUICK, None) as stage, contextlib.AsyncExitStack() as stack:
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(10):
                reader, _ = await stack.enter_async_context(stranger(stage, request))
                for _ in range(4):
                    await reader.readuntil(b'"settled":"1"')
            gc.collect()
            grown = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert stage.node.report().connections == 10
        assert grown < 1024 * KIB


@ours
async def test_an_open_connection_does_not_hold_its_last_message(carrier: OpenStage) -> None:
    async with carrier(QUICK, None) as stage, contextlib.AsyncExitStack() as stack:
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(20):
                reader, writer = await stack.enter_async_context(stranger(stage))
                writer.write(framed(settle(64 * KIB)))
                await reader.readuntil(b'"settled":"1"')
            gc.collect()
            grown = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert stage.node.report().connections == 20
        assert grown < 640 * KIB


class Text(str):
    """Text whose end can be noticed."""

    __slots__ = ("__weakref__",)


async def test_an_open_connection_of_an_asgi_server_does_not_hold_its_last_message(sessions: Made) -> None:
    incoming = asyncio.Queue[MutableMapping[str, Any]]()

    async def send(message: MutableMapping[str, Any]) -> None:
        assert message["type"] in {"websocket.accept", "websocket.send"}

    node, _ = make_node(QUICK, Answering(never))
    node.start()
    await node.until_accepting()
    text = Text(settle())
    held = weakref.ref(text)
    incoming.put_nowait({"type": "websocket.connect"})
    incoming.put_nowait({"type": "websocket.receive", "text": text})
    del text
    scope = {"path": "/realtime", "query_string": b"", "headers": [(b"host", b"here")]}
    serving = asyncio.create_task(serve_websocket(scope, incoming.get, send, node))
    await until(lambda: sessions.waiting_bytes() == [len(settle())])
    assert held() is None
    incoming.put_nowait({"type": "websocket.disconnect"})
    await serving
    await node.stop()


# Before there is a connection, and around its messages


async def test_a_request_that_is_too_long_is_not_read_while_it_waits_for_its_turn() -> None:
    class Queue(AcceptQueue):
        """Runs a handshake when the test does."""

        def __init__(self) -> None:
            super().__init__()
            self.turns: list[Callable[[], None]] = []

        def put(self, handshake: Callable[[], None]) -> None:
            self.turns.append(handshake)

    class Watched(WebSocketConnection):
        """Counts what is read, and knows whether more will be."""

        transport: asyncio.Transport
        read = 0

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport = transport
            super().connection_made(transport)

        def data_received(self, data: bytes) -> None:
            self.read += len(data)
            super().data_received(data)

        def connection_lost(self, exc: Exception | None) -> None:
            lost.set()
            super().connection_lost(exc)

    node, _ = make_node(QUICK, None)
    queue, lost = Queue(), asyncio.Event()
    connection = Watched(node, "/realtime", lambda _path, _headers: None, queue)
    server = await asyncio.get_running_loop().create_server(lambda: connection, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    try:
        writer.write(b"GET / HTTP/1.1\r\nx: " + b"x" * 32 * 1024 * KIB)
        await until(lambda: bool(queue.turns) and not connection.transport.is_reading())
        assert 16 * KIB < connection.read < 600 * KIB  # twice the longest request
        queue.turns[0]()
        with contextlib.suppress(ConnectionError):  # what was not read resets the connection
            assert (await reader.readline()).startswith(b"HTTP/1.1 431 ")
        async with asyncio.timeout(30):
            await lost.wait()
    finally:
        writer.transport.abort()
        server.close()


@ours
async def test_of_the_pings_of_a_peer_that_does_not_read_the_latest_is_answered(
    carrier: OpenStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pings arrive as one: of a peer that does not read, the kernel may take no more until it does."""
    monkeypatch.setattr(sockets, "_SEND_BUFFER_BYTES", 4 * KIB)
    monkeypatch.setattr(websocket, "_PINGS_AT_ONCE", 500)
    pings = [framed(f"{n:0125}", 0x89) for n in range(400)]  # their answers have 50 KB
    async with carrier(QUICK, None) as stage, stranger(stage, receive_buffer=4 * KIB) as (reader, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is asyncio's own
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 256 * KIB)
        writer.write(b"".join(pings) + framed('{"subscribe":["ping_update"]}'))
        await until(lambda: stage.node.report().subscriptions == 1)
        assert 0 < stage.node.report().outbox_bytes < KIB
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        everything = await reader.readuntil(f"{len(pings) - 1:0125}".encode())
        assert b'{"subscribed":["ping_update"]' in everything
        assert f"{len(pings) - 2:0125}".encode() not in everything
