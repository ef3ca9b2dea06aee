"""Event streams: Server-Sent Events from real sockets, dedicated and inside an ASGI application."""

from __future__ import annotations

import asyncio
import json
import socket
from urllib.parse import urlsplit

import httpx
import jwt
import pytest
import uvicorn

from flowcraft.adapters.jwt import JwtAuthorizer
from flowcraft.entrypoints.asgi import RealtimeApp
from flowcraft.runtime.node import Node
from flowcraft.settings import Settings
from tests.support.carriers import (
    QUICK,
    SECRET,
    OpenStage,
    Ping,
    dedicated,
    make_node,
    mounted,
    private,
    until,
)
from tests.support.event_streams import Stream, listening

pytestmark = pytest.mark.asyncio
everywhere = pytest.mark.parametrize("carrier", [dedicated, mounted], ids=["dedicated", "asgi"])
START = "1/1.0/700:"


@everywhere
async def test_a_stream_tells_what_a_websocket_would(carrier: OpenStage) -> None:
    async with carrier(QUICK, None) as stage, listening(stage) as stream:
        assert stream.response.headers["content-type"] == "text/event-stream"
        assert stream.response.headers["cache-control"] == "no-store, no-transform"
        assert "hello" in await stream.next()
        assert stream.retry == 1000
        assert await stream.next() == {"subscribed": ["ping_update"], "cursor": START, "n": 0}
        await stage.ping(1)
        assert (await stream.next())["payload"] == {"type": "Ping", "n": 1, "weight": ""}
        assert stream.last_id == START
        assert (await stream.next())["n"] == 1
        assert stream.last_id == "1/1.0/701:"


@everywhere
@pytest.mark.parametrize("how", ["header", "query", "both"])
async def test_a_stream_goes_on_after_the_last_id(carrier: OpenStage, how: str) -> None:
    async with carrier(QUICK, None) as stage:
        for n in range(3):
            await stage.ping(n)
        since = {"header": "", "query": "&since=1/1.0/701:", "both": f"&since={START}"}[how]
        headers = {} if how == "query" else {"Last_Event_ID": "1/1.0/701:"}
        async with listening(stage, f"?channel=ping_update{since}", **headers) as stream:
            await stream.next()
            assert [(await stream.next())["payload"]["n"] for _ in range(2)] == [1, 2]
            assert await stream.next() == {"subscribed": ["ping_update"], "cursor": "1/1.0/703:", "n": 2}
            assert stream.last_id == "1/1.0/703:"


@everywhere
async def test_no_id_is_told_before_the_subscription_is_answered(carrier: OpenStage) -> None:
    """A heartbeat's cursor would skip what has still to be replayed."""
    settings = Settings(drain_seconds=0.01, heartbeat_seconds=0.05)
    async with carrier(settings, None) as stage, listening(stage, "?channel=nothing_such") as stream:
        assert (await stream.until("error"))["error"]["code"] == "forbidden"
        await stream.until("at")
        await stream.until("at")
        assert stream.last_id is None


@everywhere
async def test_a_bearer_token_opens_what_is_guarded(carrier: OpenStage) -> None:
    token = jwt.encode({"sub": "ann", "iat": 1, "exp": 2**33}, SECRET)
    async with (
        carrier(QUICK, JwtAuthorizer(SECRET, required=True)) as stage,
        listening(
            stage, "?channel=private.ann&channel=private.bob", Authorization=f"Bearer {token}"
        ) as stream,
    ):
        assert (await stream.until("error"))["error"]["channel"] == "private.bob"
        assert (await stream.until("subscribed"))["subscribed"] == ["private.ann"]
        await stage.service.broadcast(private("ann"), Ping(n=7))
        assert (await stream.until("channel"))["payload"]["n"] == 7


@everywhere
async def test_a_post_says_what_would_be_sent_through_a_websocket(carrier: OpenStage) -> None:
    async with carrier(QUICK, None) as stage:
        await stage.ping(1)
        said = [{"subscribe": ["ping_update"], "since": START, "ref": 4}, {"settle": "700"}]
        async with listening(stage, "", body="\n".join(map(json.dumps, said))) as stream:
            assert (await stream.until("channel"))["payload"]["n"] == 1
            assert (await stream.next())["ref"] == 4
            assert (await stream.next())["settled"] == "700"


@everywhere
async def test_line_breaks_in_a_payload_do_not_break_the_stream(carrier: OpenStage) -> None:
    """Text that somebody's SQL wrote: white space between tokens is as it was stored."""
    async with carrier(QUICK, None) as stage, listening(stage) as stream:
        await stream.until("subscribed")
        stage.log.broadcast("ping_update", '{"n":\r\n1,\r"weight":\n"a\\nb"}')
        assert (await stream.until("channel"))["payload"] == {"n": 1, "weight": "a\nb"}


@everywhere
@pytest.mark.parametrize(
    ("query", "headers", "status", "sentence"),
    [
        ("", {}, 400, "expected channels"),
        ("?channel=ping_update&token=secret", {}, 400, "'token' in the URL"),
        ("?channel=ping_update", {"Origin": "https://evil.example"}, 403, "not allowed"),
    ],
)
async def test_what_is_no_proper_request_is_refused(
    carrier: OpenStage, query: str, headers: dict[str, str], status: int, sentence: str
) -> None:
    async with carrier(QUICK, None) as stage, listening(stage, query, **headers) as stream:
        assert stream.response.status_code == status
        assert sentence in (await stream.response.aread()).decode()


@everywhere
async def test_a_body_that_is_no_text_or_too_long_is_refused(carrier: OpenStage) -> None:
    async with carrier(QUICK, None) as stage, httpx.AsyncClient() as client:
        address = stage.http("/realtime/events")
        assert (await client.post(address, content=b"\xff")).status_code == 400
        assert (await client.post(address, content=b"x" * 65_537)).status_code == 413
        assert (await client.post(address, content=b"x" * 262_145)).status_code == 413
        assert (await client.put(address, content=b"")).status_code == 405


@everywhere
async def test_a_page_of_an_allowed_origin_may_read_it(carrier: OpenStage) -> None:
    there = "https://app.example"
    settings = Settings(drain_seconds=0.01, allowed_origins=(there,))
    async with carrier(settings, None) as stage, listening(stage, Origin=there) as stream:
        assert stream.response.headers["access-control-allow-origin"] == there
        assert stream.response.headers["access-control-allow-credentials"] == "true"
        assert stream.response.headers["vary"] == "Origin"


async def test_a_drain_says_when_to_come_back_and_ends_the_stream() -> None:
    async with dedicated(Settings(drain_seconds=0.05), None) as stage, listening(stage) as stream:
        await stream.until("subscribed")
        await stage.node.drain()
        bye = await stream.until("bye")
        assert stream.retry == bye["bye"]["reconnect_after_ms"]
        assert await stream.next() == {"code": 1012, "reason": "restart"}
        with pytest.raises(EOFError):
            await stream.next()


@everywhere
async def test_who_comes_too_early_is_told_to_try_again(carrier: OpenStage) -> None:
    async with carrier(QUICK, None) as stage:
        await stage.node.drain()
        async with listening(stage) as stream:
            assert stream.response.status_code == 503
            assert int(stream.response.headers["retry-after"]) > 0


@everywhere
async def test_a_client_that_went_away_is_forgotten(carrier: OpenStage) -> None:
    async with carrier(QUICK, None) as stage:
        async with listening(stage) as stream:
            await stream.until("subscribed")
            assert stage.node.report().connections == 1
        await until(lambda: stage.node.report().connections == 0)


@everywhere
async def test_a_client_that_does_not_read_is_closed(carrier: OpenStage) -> None:
    settings = Settings(drain_seconds=0.01, outbox_bytes=100_000, outbox_seconds=60)
    async with carrier(settings, None) as stage:
        url = urlsplit(stage.address)
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)  # it hides little
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (url.hostname, url.port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=65536)
        writer.write(b"GET /realtime/events?channel=ping_update HTTP/1.1\r\nHost: here\r\n\r\n")
        await reader.readuntil(b'"n":0}')
        weight = "x" * 50_000
        async with asyncio.timeout(20):
            while not stage.node.counts.slow_closes:
                await stage.ping(0, weight)
                await asyncio.sleep(0)
        writer.transport.abort()
        await until(lambda: stage.node.report().connections == 0)


async def test_uvicorn_ends_although_a_stream_is_open() -> None:
    node, _ = make_node(QUICK, None)

    class Started:
        async def start(self) -> Node:
            return node

        async def stop(self) -> None: ...

    node.start()
    await node.until_accepting()
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(RealtimeApp(Started(), None, "/realtime"), log_level="error"))
    serving = asyncio.create_task(server.serve([listener]))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}/realtime/events?channel=ping_update"
    async with httpx.AsyncClient(timeout=20) as client, client.stream("GET", address) as response:
        stream = Stream(response)
        await stream.until("subscribed")
        server.should_exit = True
        assert await stream.until("code") == {"code": 1012, "reason": "restart"}
        await serving
    await node.stop()
