"""Requests that are none, or attacks: each has its answer in time, and other clients do not notice."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import connect

from flowcraft.adapters import request_socket
from flowcraft.adapters.asgi import Scope
from flowcraft.adapters.asgi_event_stream import serve_event_stream
from flowcraft.adapters.chunks import CHUNKS
from flowcraft.adapters.http import FIELDS, HEAD_BYTES, TARGET_BYTES
from flowcraft.adapters.memory import MemoryRealtimeService
from flowcraft.adapters.server_sent import BODY_BYTES, BODY_MESSAGES
from flowcraft.entrypoints.asgi import RealtimeApp
from flowcraft.ports import Authorizer
from flowcraft.runtime.gateway import Gateway
from flowcraft.runtime.node import Node
from flowcraft.settings import Settings
from tests.support.carriers import QUICK, OpenStage, Stage, dedicated, make_node, until, uvicorn_with

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("no_error")]
SECONDS = 15
UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)
ENDS = "/realtime/events?channel=ping_update"


@asynccontextmanager
async def mounted(settings: Settings, authorizer: Authorizer | None) -> AsyncIterator[Stage]:
    """The ASGI application on uvicorn, with its health pages."""
    node, log = make_node(settings, authorizer)

    class Started:
        async def start(self) -> Node:
            return node

        async def stop(self) -> None: ...

    app = RealtimeApp(Started(), None, "/realtime")
    node.start()
    await node.until_accepting()
    service = MemoryRealtimeService(log, node.broadcast_ephemeral)
    try:
        async with uvicorn_with(app, ws="websockets-sansio", http="h11") as (server, port):
            yield Stage(node, log, service, f"ws://127.0.0.1:{port}/realtime", server)
    finally:
        await node.stop()


everywhere = pytest.mark.parametrize("carrier", [dedicated, mounted], ids=["dedicated", "asgi"])


@pytest.fixture
def no_error(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing that clients send leaves a traceback: in no log line, and in no callback of the event loop."""
    yield
    errors = [record for record in caplog.get_records("call") if record.exc_info is not None]
    assert errors == [], "\n".join(record.getMessage() for record in errors)


def request(line: str, *fields: str, host: str | None = "Host: here", body: bytes = b"") -> bytes:
    named = [line, *([] if host is None else [host]), *fields]
    return "\r\n".join([*named, "", ""]).encode("latin-1") + body


async def answer(stage: Stage, *pieces: bytes, half_closed: bool = False) -> bytes:
    """Send a request in pieces; return the head of its response."""
    url = urlsplit(stage.address)
    async with asyncio.timeout(SECONDS):
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        try:
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0)
            if half_closed:
                writer.write_eof()
            return await reader.readuntil(b"\r\n\r\n")
        finally:
            writer.transport.abort()


async def status(stage: Stage, *pieces: bytes) -> int:
    return int((await answer(stage, *pieces)).split(b" ", 2)[1])


POST = "POST /realtime/events HTTP/1.1"
GET = "GET /healthz HTTP/1.1"
ATTACKS: dict[str, tuple[bytes, int]] = {
    "a WebSocket from no origin": (request("GET /realtime HTTP/1.1", *UPGRADE, "Origin: http://["), 403),
    "a stream from no origin": (request(f"GET {ENDS} HTTP/1.1", "Origin: http://["), 403),
    "an opaque origin and no host": (request(f"GET {ENDS} HTTP/1.1", "Origin: null", host="Host:"), 403),
    "two origins": (request(f"GET {ENDS} HTTP/1.1", "Origin: http://here", "Origin: http://here"), 403),
    "a WebSocket at no host": (request("GET /realtime HTTP/1.1", *UPGRADE, host="Host: ["), 400),
    "a stream at no host": (request(f"GET {ENDS} HTTP/1.1", host="Host: ["), 400),
    "a stream without Host": (request(f"GET {ENDS} HTTP/1.1", host=None), 400),
    "a field outside of grammar": (request(f"GET {ENDS} HTTP/1.1", "a : b"), 400),
    "NUL": (request(f"GET {ENDS} HTTP/1.1", "a: \0"), 400),
    "a long query": (request(f"GET {ENDS}&since={'1' * 9000} HTTP/1.1"), 414),
    "a length over the limit, after zeros": (request(POST, "Content-Length: 00000000009999999999"), 413),
    "a length with a sign": (request(POST, "Content-Length: +5", body=b"{}\n{}"), 400),
    "two lengths": (request(POST, "Content-Length: 2", "Content-Length: 3", body=b"{}\n"), 400),
    "a GET with content": (request(f"GET {ENDS} HTTP/1.1", "Content-Length: 2", body=b"{}"), 400),
    "many messages": (request(POST, f"Content-Length: {3 * 87_000}", body=b"{}\n" * 87_000), 413),
    "many empty lines": (request(POST, f"Content-Length: {BODY_BYTES}", body=b"\n" * BODY_BYTES), 413),
    "another method": (request("PUT /realtime/events HTTP/1.1", "Content-Length: 0"), 405),
}
STRICT: dict[str, tuple[bytes, int]] = {
    "a page at no host": (request(GET, host="Host: ["), 400),
    "a page for POST": (request("POST /healthz HTTP/1.1", "Content-Length: 5"), 405),
    "half an authority": (request("GET //[ HTTP/1.1"), 404),
    "half an address": (request("GET http://[ HTTP/1.1"), 400),
    "a star": (request("GET * HTTP/1.1"), 400),
    "a target outside of ASCII": (request("GET /\xe9 HTTP/1.1"), 400),
    "NUL in a target": (request("GET /\0 HTTP/1.1"), 400),
    "a bare CR": (request(GET, "a: b\rc: d"), 400),
    "a bare LF": (b"GET /healthz HTTP/1.1\nHost: here\n\n", 400),
    "a folded line": (request(GET, "a: b", " c"), 400),
    "an older version": (request("GET /healthz HTTP/0.9"), 505),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "malformed chunks": (request(POST, "Transfer-Encoding: chunked", body=b"2\r\n{}}\r\n0\r\n\r\n"), 400),
    "too many chunks": (request(POST, "Transfer-Encoding: chunked", body=b"1\r\n\n\r\n" * (CHUNKS + 1)), 413),
    "a trailer that does not end": (
        request(POST, "Transfer-Encoding: chunked", body=b"0\r\n" + b"a: b\r\n" * 20),
        400,
    ),
    "another coding": (request(POST, "Transfer-Encoding: gzip"), 501),
    "chunks and a length": (request(POST, "Transfer-Encoding: chunked", "Content-Length: 5"), 400),
    "a target that is too long": (request(f"GET /{'a' * TARGET_BYTES} HTTP/1.1"), 414),
    "200 KB of head in one packet": (request(GET, "a: " + "b" * 200_000), 431),
    "too many fields": (request(GET, *["a: b"] * FIELDS), 431),
    "a head that does not end": (request(GET, "a: " + "b" * HEAD_BYTES)[:-4], 431),
}


@everywhere
async def test_an_attack_has_an_answer_everywhere(carrier: OpenStage) -> None:
    async with carrier(QUICK, None) as stage:
        answers = {name: await status(stage, sent) for name, (sent, _) in ATTACKS.items()}
    assert answers == {name: expected for name, (_, expected) in ATTACKS.items()}


async def test_an_attack_has_an_answer_on_the_dedicated_server() -> None:
    async with dedicated(QUICK, None) as stage:
        answers = {name: await status(stage, sent) for name, (sent, _) in STRICT.items()}
    assert answers == {name: expected for name, (_, expected) in STRICT.items()}


@pytest.mark.parametrize("size", [1, 2, 100])
async def test_the_answer_of_the_server_depends_on_no_packet(size: int) -> None:
    async with dedicated(QUICK, None) as stage:
        for sent, expected in [*STRICT.values(), *ATTACKS.values()]:
            if len(sent) < 100 * size:
                pieces = [sent[at : at + size] for at in range(0, len(sent), size)]
                assert (sent, await status(stage, *pieces)) == (sent, expected)


async def test_odd_targets_have_an_answer_from_the_asgi_application() -> None:
    targets = ["//[", "http://[", "*", "/\xe9", "//[/healthz", "http://[/readyz", "/%ff", "//[/events"]
    async with mounted(QUICK, None) as stage:
        found = [await status(stage, request(f"GET {target} HTTP/1.1")) for target in targets]
    assert found == [426, 426, 426, 400, 200, 200, 426, 400]


@pytest.mark.parametrize("pieces", [1, 3])
async def test_what_follows_a_request_does_not_change_its_answer(pieces: int) -> None:
    async with dedicated(QUICK, None) as stage:
        sent = request(GET) + request("GET /nothing HTTP/1.1") + b"\0" * 100_000
        cut = len(request(GET)) + 3
        whole = (
            await answer(stage, sent)
            if pieces == 1
            else await answer(stage, sent[:9], sent[9:cut], sent[cut:])
        )
        assert whole.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("pieces", [1, 2])
async def test_frames_that_come_with_a_handshake_are_the_first_of_the_websocket(pieces: int) -> None:
    handshake = request("GET /realtime HTTP/1.1", *UPGRADE)
    settle = b"\x81\x8e\0\0\0\0" + b'{"settle":"1"}'
    async with dedicated(QUICK, None) as stage, asyncio.timeout(SECONDS):
        url = urlsplit(stage.address)
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(handshake + settle if pieces == 1 else handshake)
        await reader.readuntil(b"\r\n\r\n")
        if pieces == 2:
            writer.write(settle)
        await reader.readuntil(b'{"settled":"1"')
        writer.close()


async def test_a_client_that_closes_its_side_after_its_request_has_its_answer() -> None:
    async with dedicated(QUICK, None) as stage:
        assert (await answer(stage, request(GET), half_closed=True)).startswith(b"HTTP/1.1 200 OK\r\n")
        cut = await answer(stage, request(GET)[:-2], half_closed=True)
        assert cut.startswith(b"HTTP/1.1 400 Bad Request\r\n")


async def test_a_refused_client_can_read_why_while_it_still_sends() -> None:
    async with dedicated(QUICK, None) as stage, asyncio.timeout(SECONDS):
        url = urlsplit(stage.address)
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(request(POST, f"Content-Length: {BODY_BYTES + 1}"))
        for _ in range(8):  # less than what the server discards
            writer.write(b"x" * 65_536)
            await writer.drain()
        assert (await reader.read()).startswith(b"HTTP/1.1 413 Content Too Large\r\n")
        writer.close()


@pytest.mark.parametrize("resets", [True, False])
async def test_a_client_that_is_gone_before_its_answer_leaves_no_traceback(resets: bool) -> None:
    async with dedicated(QUICK, None) as stage, asyncio.timeout(SECONDS):
        url = urlsplit(stage.address)
        for turns in range(12):
            _, writer = await asyncio.open_connection(url.hostname, url.port)
            writer.write(request("GET / HTTP/9.9"))
            for _ in range(turns):
                await asyncio.sleep(0)
            raw: socket.socket = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", resets, 0))
            writer.transport.abort()
        await round_trip(stage.address)


async def test_an_asgi_request_whose_client_goes_away_takes_no_message() -> None:
    node, _ = make_node(QUICK, None)
    node.start()
    await node.until_accepting()
    arriving: list[MutableMapping[str, object]] = [
        {"type": "http.request", "body": b'{"settle":"1"}\n', "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[MutableMapping[str, object]] = []

    async def receive() -> MutableMapping[str, object]:
        return arriving.pop(0)

    async def send(message: MutableMapping[str, object]) -> None:
        sent.append(message)

    scope: Scope = {"type": "http", "method": "POST", "headers": [], "path": "/realtime/events"}
    await serve_event_stream(scope, receive, send, node)
    assert (sent, node.counts.connections) == ([], 0)
    await node.stop()


async def test_a_client_that_waits_with_its_content_is_asked_for_it() -> None:
    async with dedicated(QUICK, None) as stage, asyncio.timeout(SECONDS):
        url = urlsplit(stage.address)
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(request(POST, "Content-Length: 14", "Expect: 100-continue"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b'{"settle":"1"}')
        await reader.readuntil(b'{"settled":"1"')
        writer.close()


# Time


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_socket, "REQUEST_SECONDS", 0.1)
    monkeypatch.setattr(request_socket, "_LINGER_SECONDS", 0.1)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    "sent",
    [
        b"G",
        request(GET)[:-1],
        request(POST, "Content-Length: 4"),
        request(POST, "Content-Length: 4", body=b"{}"),
    ],
    ids=["a byte", "a head", "no content", "half a content"],
)
async def test_a_request_that_does_not_arrive_is_answered_after_its_time(sent: bytes) -> None:
    async with dedicated(QUICK, None) as stage:
        assert (await answer(stage, sent)).startswith(b"HTTP/1.1 408 Request Timeout\r\n")


@pytest.mark.usefixtures("hasty")
async def test_a_client_that_sends_nothing_is_closed_after_its_time() -> None:
    async with dedicated(QUICK, None) as stage:
        with pytest.raises(asyncio.IncompleteReadError) as closed:
            await answer(stage)
        assert closed.value.partial == b""


@pytest.mark.usefixtures("hasty")
async def test_a_refused_client_that_never_ends_is_cut_off() -> None:
    async with dedicated(QUICK, None) as stage, asyncio.timeout(SECONDS):
        url = urlsplit(stage.address)
        _, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(request("GET / HTTP/9.9"))
        with pytest.raises(ConnectionError):
            await send_without_end(writer)
        writer.transport.abort()


async def send_without_end(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x" * 65_536)
        await writer.drain()


async def test_a_body_on_an_asgi_server_has_its_time_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowcraft.adapters.asgi_event_stream.REQUEST_SECONDS", 0.1)
    async with mounted(QUICK, None) as stage:
        assert await status(stage, request(POST, "Content-Length: 4", body=b"{}")) == 408


# Others


async def round_trip(address: str) -> None:
    async with connect(address) as client:
        await client.send('{"settle":"1"}')
        while "settled" not in json.loads(await client.recv()):
            pass


@everywhere
async def test_between_the_messages_of_a_request_other_clients_have_their_turn(
    carrier: OpenStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    received = Gateway.received

    def noted(gateway: Gateway, message: str | bytes) -> None:
        taken.append(gateway.number)
        received(gateway, message)

    monkeypatch.setattr(Gateway, "received", noted)
    body = b"\n".join([b'{"settle":"1"}'] * BODY_MESSAGES)
    post = request(POST, f"Content-Length: {len(body)}", body=body)
    async with carrier(QUICK, None) as stage, asyncio.timeout(SECONDS):
        url = urlsplit(stage.address)
        streams = [await asyncio.open_connection(url.hostname, url.port) for _ in range(2)]
        for _, writer in streams:
            writer.write(post)
        await until(lambda: len(taken) == 2 * BODY_MESSAGES)
        for _, writer in streams:
            writer.transport.abort()
    first, second = dict.fromkeys(taken)
    assert taken.count(first) == taken.count(second) == BODY_MESSAGES
    assert taken.index(second) < BODY_MESSAGES


async def test_others_are_served_while_a_crowd_sends_byte_by_byte() -> None:
    async with dedicated(QUICK, None) as stage, asyncio.timeout(SECONDS):
        url = urlsplit(stage.address)
        crowd = [await asyncio.open_connection(url.hostname, url.port) for _ in range(50)]
        for byte in request("GET /realtime HTTP/1.1")[:-1]:
            for _, writer in crowd:
                writer.write(bytes([byte]))
            await asyncio.sleep(0)
        await round_trip(stage.address)
        for _, writer in crowd:
            writer.transport.abort()


# What should not happen


def fail(*_: object, **__: object) -> None:
    raise RuntimeError("a mistake of ours")


@pytest.mark.parametrize(
    ("line", "fails", "beginning"),
    [
        ("GET /readyz HTTP/1.1", "report", b"HTTP/1.1 500 "),
        (f"GET {ENDS} HTTP/1.1", "connect", b"HTTP/1.1 500 "),
    ],
)
async def test_a_mistake_of_ours_is_logged_and_closes_the_connection(
    line: str, fails: str, beginning: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with dedicated(QUICK, None) as stage:
        monkeypatch.setattr(stage.node, fails, fail)
        response = await answer(stage, request(line))
        monkeypatch.undo()
        await round_trip(stage.address)
    assert response.startswith(beginning)
    logged = [record.message for record in caplog.records if record.exc_info]
    assert len(logged) == 1
    assert logged[0].startswith("answering a request from 127.0.0.1:")
    caplog.clear()
