"""Clients without a token: what they can make a server hold, and what is left when they have gone."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import re
import socket
import tracemalloc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from flowcraft.adapters import asgi_event_stream, sockets, uvicorn, websocket
from flowcraft.adapters.asgi import AsgiConnection, serve_websocket
from flowcraft.adapters.event_stream import EventStreamConnection
from flowcraft.adapters.request_socket import AcceptQueue
from flowcraft.adapters.websocket import WebSocketConnection
from flowcraft.core.session import Session
from flowcraft.runtime.decisions import Decision
from flowcraft.runtime.gateway import Gateway
from flowcraft.viewers import Viewer
from tests.support.carriers import (
    QUICK,
    OpenStage,
    Stage,
    channels,
    dedicated,
    make_node,
    mounted,
    on_uvicorn,
    until,
)

KIB = 1024
MESSAGES = on_uvicorn("websockets-sansio", direct=False)
EVERY_CARRIER = {"dedicated": dedicated, "direct": mounted, "messages": MESSAGES}
OURS = {"dedicated": dedicated}
everywhere = pytest.mark.parametrize("carrier", EVERY_CARRIER.values(), ids=EVERY_CARRIER)
ours = pytest.mark.parametrize("carrier", OURS.values(), ids=OURS)
streams = pytest.mark.parametrize("carrier", [dedicated, mounted], ids=["dedicated", "asgi"])
pytestmark = pytest.mark.asyncio

HANDSHAKE = (
    b"GET /realtime HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
NO_TOKEN_YET = (4429, "at most 16 messages and 4096 bytes may wait before a token; send auth first")
UNDECIDED = (4429, "at most 256 messages and 262144 bytes may wait during a token check or guard")
AUTH = '{"auth":"t"}'


class Doorkeeper:
    """An authorizer that wants a token, and answers as `answer` does."""

    required = True

    def __init__(self, answer: Callable[[], Awaitable[Viewer]]) -> None:
        self._answer = answer
        self.asked = asyncio.Event()

    async def authenticate(self, token: str) -> Viewer:  # the port's
        self.asked.set()
        return await self._answer()


async def never() -> Viewer:
    await asyncio.Event().wait()
    raise AssertionError


async def for_an_hour() -> Viewer:
    return Viewer("ada", expires_at=10.0**11)


class Stubborn:
    """Code that is cancelled and goes on."""

    def __init__(self) -> None:
        self.released = asyncio.Event()

    async def __call__(self) -> Viewer:
        while not self.released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.released.wait()
        return await for_an_hour()


def framed(text: str, first: int = 0x81) -> bytes:
    """A frame as a client sends it, masked with zeros."""
    payload = text.encode()
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65_536:
        head = bytes((first, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0x80 | 127)) + size.to_bytes(8, "big")
    return head + bytes(4) + payload


def settle(size: int = 14) -> str:
    return '{"settle":"1"}' + " " * (size - 14)


def subscribing(size: int) -> str:
    """A subscription with as many short names as there is room for: what grows most when it is parsed."""
    names = ",".join(f'"a{n:05}"' for n in range((size - 20) // 9))
    return f'{{"subscribe":[{names}]}}'.ljust(size)


@asynccontextmanager
async def stranger(
    stage: Stage, request: bytes = HANDSHAKE, receive_buffer: int = 64 * KIB
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection whose handshake is over; it ends without a word, in time. Its kernel hides little."""
    url = urlsplit(stage.address)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (url.hostname, url.port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=4 * 1024 * KIB)
    writer.write(request)
    try:
        async with asyncio.timeout(30):
            if request is HANDSHAKE:
                await reader.readuntil(b'"hello":{')
            yield reader, writer
    finally:
        writer.transport.abort()


async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[int, str]:
    """Close a WebSocket that the server closes, and read to its end; return the server's code and reason."""
    everything = bytearray()
    with contextlib.suppress(ConnectionError):
        while b"\x88" not in everything and (data := await reader.read(65_536)):
            everything += data
    found = re.search(rb"\x88(.)(..)(.*)", everything, re.DOTALL)
    assert found is not None, f"never closed, after {bytes(everything[-200:])!r}"
    writer.write(framed("", 0x88))
    with contextlib.suppress(ConnectionError):
        await reader.read()
    return int.from_bytes(found[2], "big"), found[3][: found[1][0] - 2].decode()


def alive(*kinds: type[object]) -> list[object]:
    return [found for found in gc.get_objects() if issubclass(type(found), kinds)]


_of_earlier_tests: list[object] = []


@pytest.fixture(autouse=True)
def _without_earlier_sessions() -> Iterator[None]:
    """Do not count sessions that earlier tests have left; held here, their `id` is not reused."""
    _of_earlier_tests[:] = alive(Session)
    yield
    _of_earlier_tests.clear()


@pytest.fixture
def _soon_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait long for the close of a client that has sent too much: it is not read."""
    monkeypatch.setattr(websocket, "_CLOSING_SECONDS", 0.2)
    monkeypatch.setattr(uvicorn, "_CLOSING_SECONDS", 0.2)


def waiting_bytes() -> list[int]:
    """Return the waiting bytes of every session of this test in memory: `[]` once none is kept."""
    earlier = {id(session) for session in _of_earlier_tests}
    return [
        found.waiting_bytes
        for found in alive(Session)
        if isinstance(found, Session) and id(found) not in earlier
    ]


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


# How much


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
    async with carrier(QUICK, Doorkeeper(never)) as stage, stranger(stage) as (reader, writer):
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
    carrier: OpenStage, frames: list[str]
) -> None:
    released = asyncio.Event()

    async def when_released() -> Viewer:
        await released.wait()
        return await for_an_hour()

    sent = sum(len(frame) for frame in frames if "settle" in frame)
    async with carrier(QUICK, Doorkeeper(when_released)) as stage, stranger(stage) as (reader, writer):
        writer.write(b"".join(map(framed, frames)))
        await until(lambda: waiting_bytes() == [sent])
        if not any("auth" in frame for frame in frames):
            writer.write(framed(AUTH))
        released.set()
        for _ in range(sum("settle" in frame for frame in frames)):
            await reader.readuntil(b'{"settled":"1"')


@everywhere
async def test_a_flood_of_strangers_takes_next_to_nothing(carrier: OpenStage) -> None:
    message = framed(subscribing(60 * KIB))  # 0.6 MB once it is parsed
    async with carrier(QUICK, Doorkeeper(never)) as stage, contextlib.AsyncExitStack() as stack:
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
        await until(lambda: waiting_bytes() == [])


@everywhere
async def test_a_crowd_of_strangers_at_their_limit_holds_four_kib_each(carrier: OpenStage) -> None:
    most = framed(settle(256)) * 16
    async with carrier(QUICK, Doorkeeper(never)) as stage, contextlib.AsyncExitStack() as stack:
        for _ in range(50):
            _, writer = await stack.enter_async_context(stranger(stage))
            writer.write(most)
        await until(lambda: waiting_bytes() == [4 * KIB] * 50)
        await stack.aclose()
        await until(lambda: waiting_bytes() == [])
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
    async with carrier(QUICK, Doorkeeper(never)) as stage, stranger(stage) as (reader, writer):
        writer.write(begun)
        assert await closing(reader, writer) == (1009, "message too big: at most 16384 bytes")


@ours
async def test_a_token_and_a_long_message_may_come_in_one_packet(carrier: OpenStage) -> None:
    async with carrier(QUICK, Doorkeeper(for_an_hour)) as stage, stranger(stage) as (reader, writer):
        writer.write(framed(AUTH) + framed(settle(64 * KIB)))
        await reader.readuntil(b'{"settled":"1"')


@everywhere
async def test_where_no_token_is_required_long_messages_are_taken_at_once(carrier: OpenStage) -> None:
    async with carrier(QUICK, None) as stage, stranger(stage) as (reader, writer):
        writer.write(framed(settle(64 * KIB)) * 40)
        for _ in range(40):
            await reader.readuntil(b'{"settled":"1"')


# Event streams


def post(*lines: str, query: str = "", **headers: str) -> bytes:
    body = "\n".join(lines).encode()
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    start = f"POST /realtime/events{query} HTTP/1.1\r\nHost: here\r\n"
    head = f"{start}{fields}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


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
    carrier: OpenStage, request_: bytes, close: tuple[int, str]
) -> None:
    async with carrier(QUICK, Doorkeeper(never)) as stage, stranger(stage, request_) as (reader, _):
        code, reason = close
        await reader.readuntil(b'event: close\ndata: {"code":%d,"reason":"%s"}' % (code, reason.encode()))
        await until(lambda: stage.node.report().connections == 0 and waiting_bytes() == [])


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


async def test_an_open_connection_of_an_asgi_server_does_not_hold_its_last_message() -> None:
    incoming = asyncio.Queue[MutableMapping[str, Any]]()

    async def send(message: MutableMapping[str, Any]) -> None:
        assert message["type"] in {"websocket.accept", "websocket.send"}

    node, _ = make_node(QUICK, Doorkeeper(never))
    node.start()
    await node.until_accepting()
    text = Text(settle())
    held = weakref.ref(text)
    incoming.put_nowait({"type": "websocket.connect"})
    incoming.put_nowait({"type": "websocket.receive", "text": text})
    del text
    scope = {"path": "/realtime", "query_string": b"", "headers": [(b"host", b"here")]}
    serving = asyncio.create_task(serve_websocket(scope, incoming.get, send, node))
    await until(lambda: waiting_bytes() == [len(settle())])
    assert held() is None
    incoming.put_nowait({"type": "websocket.disconnect"})
    await serving
    await node.stop()


# What is left


class Kept:
    """Which of our objects there are that were not there before."""

    kinds = (Session, Gateway, Decision, WebSocketConnection, EventStreamConnection, AsgiConnection)

    def __init__(self) -> None:
        self._before = set(map(id, alive(*self.kinds)))

    def __call__(self) -> list[str]:
        return sorted(type(o).__name__ for o in alive(*self.kinds) if id(o) not in self._before)


@asynccontextmanager
async def without_collecting() -> AsyncIterator[None]:
    """What is freed is freed because nothing refers to it: no garbage collection comes to help."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@everywhere
@pytest.mark.parametrize("doing", ["nothing", "waiting", "half a message", "checked", "accepted"])
async def test_of_a_connection_that_has_gone_nothing_is_kept(carrier: OpenStage, doing: str) -> None:
    doorkeeper = Doorkeeper(for_an_hour if doing == "accepted" else never)
    async with carrier(QUICK, doorkeeper) as stage, without_collecting():
        kept = Kept()
        async with stranger(stage) as (reader, writer):
            match doing:
                case "waiting":
                    writer.write(framed(settle(4 * KIB)))
                case "half a message":
                    writer.write(framed(settle(4 * KIB), 0x01))
                case "checked":
                    writer.write(framed(AUTH) + framed(settle(64 * KIB)))
                    await doorkeeper.asked.wait()
                case "accepted":
                    writer.write(framed(AUTH) + framed(settle(64 * KIB)))
                    await reader.readuntil(b"settled")
                case _:
                    pass
            assert {"Session", "Gateway"} <= set(kept())
        await until(lambda: kept() == [])


@everywhere
async def test_code_that_ignores_its_cancellation_keeps_no_connection(carrier: OpenStage) -> None:
    stubborn = Stubborn()
    doorkeeper = Doorkeeper(stubborn)
    async with carrier(QUICK, doorkeeper) as stage, without_collecting():
        kept = Kept()
        async with stranger(stage) as (_, writer):
            writer.write(framed(AUTH))
            await doorkeeper.asked.wait()
        await until(lambda: kept() == ["Decision"])
        stubborn.released.set()
        await until(lambda: kept() == [])


@everywhere
async def test_a_guard_that_never_answers_ends_with_its_connection(
    carrier: OpenStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def guard(viewer: Viewer, user: str) -> bool:  # what a guard is asked
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return True

    async with carrier(QUICK, Doorkeeper(for_an_hour)) as stage, without_collecting():
        declaration, _ = channels.resolve("private.ada")
        monkeypatch.setattr(declaration, "guard", guard)
        kept = Kept()
        async with stranger(stage) as (_, writer):
            writer.write(framed(AUTH) + framed('{"subscribe":["private.ada"]}') + framed(settle(64 * KIB)))
            await asked.wait()
        await ended.wait()
        await until(lambda: kept() == [])


@everywhere
async def test_a_connection_that_goes_as_its_token_comes_leaves_no_question_behind(
    carrier: OpenStage, recwarn: pytest.WarningsRecorder
) -> None:
    doorkeeper = Doorkeeper(never)
    async with carrier(QUICK, doorkeeper) as stage:
        kept = Kept()
        async with stranger(stage) as (_, writer):
            writer.write(framed(AUTH) + framed(settle()) * 257)
        await until(lambda: stage.node.report().connections == 0)
        gc.collect()
        await until(lambda: kept() == [])
    assert [str(warning.message) for warning in recwarn if "never awaited" in str(warning.message)] == []


@streams
@pytest.mark.parametrize("lines", [[AUTH], [settle(3 * KIB), AUTH], [AUTH, settle(64 * KIB)]])
async def test_of_an_event_stream_that_has_gone_nothing_is_kept(carrier: OpenStage, lines: list[str]) -> None:
    async with carrier(QUICK, Doorkeeper(never)) as stage, without_collecting():
        kept = Kept()
        async with stranger(stage, post(*lines)) as (reader, _):
            await reader.readuntil(b'"hello":{')
            assert {"Session", "Gateway"} <= set(kept())
        await until(lambda: kept() == [])


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
