"""The carriers: real sockets, on the dedicated server and inside an ASGI application."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from flowcraft.adapters.jwt import JwtAuthorizer
from flowcraft.entrypoints.serve import Server
from flowcraft.settings import Settings
from tests.support.carriers import (
    QUICK,
    SECRET,
    OpenStage,
    Ping,
    Stage,
    channels,
    dedicated,
    latest_update,
    make_node,
    on_uvicorn,
    private,
    until,
)

CARRIERS = {
    "dedicated": dedicated,
    "websockets": on_uvicorn("websockets", wrapped=True),
    "sansio": on_uvicorn("websockets-sansio"),
    "wsproto": on_uvicorn("wsproto"),
    "messages": on_uvicorn("websockets-sansio", direct=False),
}
everywhere = pytest.mark.parametrize("carrier", CARRIERS.values(), ids=CARRIERS)
pytestmark = pytest.mark.asyncio


async def frame(client: ClientConnection) -> dict[str, Any]:
    received: dict[str, Any] = json.loads(await client.recv())
    return received


async def opened(client: ClientConnection, *names: str) -> None:
    await client.send(json.dumps({"subscribe": names}))
    while "subscribed" not in await frame(client):
        pass


async def closing(client: ClientConnection) -> tuple[int, str]:
    """Read to the end; return the code and reason of the close."""
    with suppress(ConnectionClosed):
        async for _ in client:
            pass
    assert client.close_code is not None
    return client.close_code, client.close_reason or ""


async def refusal(attempt: Awaitable[ClientConnection]) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as refused:
        await attempt
    response = refused.value.response
    return response.status_code, response.body.decode()


@everywhere
async def test_a_client_is_greeted_and_served(carrier: OpenStage) -> None:
    async with carrier(QUICK, None) as stage, connect(f"{stage.address}?channel=ping_update") as client:
        assert (await frame(client))["hello"]["schema"] == channels.schema_hash()
        assert await frame(client) == {"subscribed": ["ping_update"], "cursor": "1/1.0/700:", "n": 0}
        await stage.ping(1)
        assert await frame(client) == {
            "channel": "ping_update",
            "payload": {"type": "Ping", "n": 1, "weight": ""},
            "id": 1,
        }
        assert await frame(client) == {"cursor": "1/1.0/701:", "n": 1, "at": "2026-11-22T20:13:00.000Z"}


@everywhere
async def test_a_client_that_comes_back_gets_what_it_missed(carrier: OpenStage) -> None:
    async with carrier(QUICK, None) as stage:
        for n in range(3):
            await stage.ping(n)
        async with connect(f"{stage.address}?channel=ping_update&since=1/1.0/701:") as client:
            await frame(client)
            assert [(await frame(client))["payload"]["n"] for _ in range(2)] == [1, 2]
            assert await frame(client) == {"subscribed": ["ping_update"], "cursor": "1/1.0/703:", "n": 2}


@everywhere
async def test_a_page_of_another_origin_and_a_token_in_the_url_are_refused(carrier: OpenStage) -> None:
    async with carrier(QUICK, None) as stage:
        evil = connect(stage.address, additional_headers={"Origin": "https://evil.example"})
        assert await refusal(_start(evil)) == (
            403,
            "forbidden: origin 'https://evil.example' is not allowed; list it in allowed_origins\n",
        )
        status, told = await refusal(_start(connect(f"{stage.address}?token=abc")))
        assert (status, "first" in told) == (400, True)
        own = stage.http("")
        async with connect(stage.address, additional_headers={"Origin": own}) as client:
            assert "hello" in await frame(client)


async def _start(attempt: connect) -> ClientConnection:
    return await attempt


@everywhere
async def test_a_token_opens_what_its_viewer_may_watch(carrier: OpenStage) -> None:
    async with carrier(QUICK, JwtAuthorizer(SECRET)) as stage, connect(stage.address) as client:
        await frame(client)
        await client.send(json.dumps({"auth": token("ada")}))
        await client.send(json.dumps({"subscribe": ["private.ada", "private.bob"]}))
        assert 0 < (await frame(client))["authenticated"]["expires_in"] <= 60
        assert (await frame(client))["error"]["channel"] == "private.bob"
        assert (await frame(client))["subscribed"] == ["private.ada"]
        await stage.service.broadcast(private("bob"), Ping(n=1))
        await stage.service.broadcast(private("ada"), Ping(n=2))
        assert (await frame(client))["payload"]["n"] == 2


@everywhere
async def test_a_token_that_runs_out_closes_the_connection_and_a_fresh_one_keeps_it(
    carrier: OpenStage,
) -> None:
    async with (
        carrier(QUICK, JwtAuthorizer(SECRET)) as stage,
        connect(stage.address) as client,
        connect(stage.address) as kept,
    ):
        await client.send(json.dumps({"auth": token("ada", lives=1)}))
        await kept.send(json.dumps({"auth": token("ada", lives=1)}))
        await kept.send(json.dumps({"auth": token("ada", lives=60)}))
        assert await closing(client) == (4401, "token expired")
        await kept.send(json.dumps({"settle": "1"}))
        assert "hello" in await frame(kept)
        assert "authenticated" in await frame(kept)
        assert "authenticated" in await frame(kept)
        assert "settled" in await frame(kept)


@everywhere
@pytest.mark.parametrize(
    ("wrong", "code"),
    [("", 4500), ("a.b.c", 4500), ("expired", 4401), ("other key", 4500), ("none", 4500)],
)
async def test_a_wrong_token_closes_the_connection(carrier: OpenStage, wrong: str, code: int) -> None:
    tokens = {
        "expired": token("ada", lives=-60),
        "other key": token("ada", key="another secret of thirty-two bytes!!"),
        "none": jwt.encode({"sub": "ada", "iat": 1, "exp": 9_999_999_999}, key="", algorithm="none"),
    }
    async with carrier(QUICK, JwtAuthorizer(SECRET)) as stage, connect(stage.address) as client:
        await client.send(json.dumps({"auth": tokens.get(wrong, wrong)}))
        assert (await closing(client))[0] == code


@everywhere
async def test_without_a_token_in_time_the_connection_is_closed(carrier: OpenStage) -> None:
    settings = Settings(drain_seconds=0.01, auth_timeout_seconds=0.05)
    async with carrier(settings, JwtAuthorizer(SECRET)) as stage, connect(stage.address) as client:
        assert await closing(client) == (4501, "no token in time")


@everywhere
async def test_binary_messages_are_refused(carrier: OpenStage) -> None:
    async with carrier(QUICK, None) as stage, connect(stage.address) as client:
        await client.send(b"\x00")
        assert (await closing(client))[0] == 1003


@everywhere
async def test_a_message_that_is_too_long_closes_the_connection(carrier: OpenStage) -> None:
    settings = Settings(drain_seconds=0.01, message_bytes=1000)
    async with carrier(settings, None) as stage, connect(stage.address) as client:
        await client.send(json.dumps({"subscribe": ["x" * 1000]}))
        assert (await closing(client))[0] == 1009


@everywhere
async def test_a_client_that_does_not_read_is_closed_and_harms_nobody(carrier: OpenStage) -> None:
    settings = Settings(drain_seconds=0.01, outbox_bytes=256 * 1024)
    async with carrier(settings, None) as stage, connect(f"{stage.address}?channel=ping_update") as good:
        await frame(good)
        await frame(good)
        url = urlsplit(stage.address)
        assert url.hostname is not None
        reader, writer = await asyncio.open_connection(url.hostname, url.port, limit=1024)
        writer.write(
            b"GET /realtime?channel=ping_update HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        await reader.readuntil(b"subscribed")
        sent = 200
        for n in range(sent):  # 10 MB: more than the kernel hides
            await stage.ping(n, weight="x" * 50_000)
            assert (await frame(good))["payload"]["n"] == n
            assert (await frame(good))["n"] == 1
        rest = 0
        try:
            while data := await reader.read(65536):
                rest += len(data)
        except ConnectionResetError:
            pass
        writer.close()
        assert rest < sent * 50_000
        await good.send('{"settle":"1"}')
        assert "settled" in await frame(good)


@everywhere
async def test_a_client_that_takes_nothing_for_too_long_is_closed(carrier: OpenStage) -> None:
    settings = Settings(drain_seconds=0.01, outbox_bytes=64 * 1024 * 1024, outbox_seconds=1.0)
    async with carrier(settings, None) as stage, connect(f"{stage.address}?channel=ping_update") as well:
        _, stuck = await raw(stage, "ping_update")
        for n in range(120):  # 12 MB: more than the kernel hides
            await stage.ping(n, weight="x" * 100_000)
        try:
            async with asyncio.timeout(10):
                while (await frame(well)).get("payload", {}).get("n") != 119:
                    pass
            await well.close()
            await stage.node.until_alone()
        finally:
            stuck.close()
        assert stage.node.counts.slow_closes == 1


@everywhere
async def test_a_slow_client_gets_the_latest_of_a_conflated_channel_and_who_keeps_up_gets_all(
    carrier: OpenStage,
) -> None:
    settings = Settings(drain_seconds=0.01, outbox_bytes=8 * 1024 * 1024)
    names = "channel=latest_update&channel=ping_update"
    async with carrier(settings, None) as stage, connect(f"{stage.address}?{names}") as well:
        await opened(well)
        reader, writer = await raw(stage, "latest_update&channel=ping_update")
        for n in range(100):  # 5 MB: more than the kernel hides
            await stage.ping(n, weight="x" * 50_000)
            assert await number(well) == n
        for n in range(300):
            await stage.service.broadcast(latest_update, Ping(n=n, weight=str(n % 3) + "y" * 50_000))
            assert await number(well) == n
        writer.write(b"\x81\x8e\x00\x00\x00\x00" + b'{"settle":"1"}')
        try:
            texts = await until_settled(reader)
        finally:
            writer.close()
    heard = [(text["channel"], text["payload"]["n"]) for text in texts if "id" in text]
    assert [n for name, n in heard if name == "ping_update"] == [*range(100)]
    dashboard = [n for name, n in heard if name == "latest_update"]
    assert len(dashboard) < 150
    assert dashboard[-3:] == [297, 298, 299]
    assert dashboard == sorted(dashboard)
    group = 0
    for text in texts:
        group += "id" in text
        if "n" in text:
            assert text["n"] == group
            group = 0


@everywhere
async def test_a_batch_larger_than_the_queue_is_no_reason_to_close_where_the_latest_will_do(
    carrier: OpenStage,
) -> None:
    settings = Settings(drain_seconds=0.01, outbox_bytes=256 * 1024)
    async with carrier(settings, None) as stage:
        reader, writer = await raw(stage, "latest_update")
        batch = stage.log.begin()
        for n in range(100):
            batch.broadcast("latest_update", json.dumps({"n": n, "weight": f"{n % 3}{'y' * 50_000}"}))
        batch.commit()
        for n in range(100, 200):
            await until_told(stage, n)
            await stage.service.broadcast(latest_update, Ping(n=n, weight=str(n % 3)))
        await until_told(stage, 200)
        writer.write(b"\x81\x8e\x00\x00\x00\x00" + b'{"settle":"1"}')
        try:
            texts = await until_settled(reader)
        finally:
            writer.close()
        assert stage.node.counts.slow_closes == 0
    heard = [text["payload"]["n"] for text in texts if "id" in text]
    assert heard == [*range(100), 197, 198, 199]


async def until_told(stage: Stage, events: int) -> None:
    await until(lambda: stage.node.counts.events == events)


async def number(client: ClientConnection) -> int:
    """The number of the next event."""
    while "id" not in (received := await frame(client)):
        pass
    return int(received["payload"]["n"])


async def until_settled(reader: asyncio.StreamReader) -> list[dict[str, Any]]:
    """Every frame up to `settled`."""
    protocol = ClientProtocol(parse_uri("ws://here/"), state=OPEN, max_size=None)
    texts: list[dict[str, Any]] = []
    async with asyncio.timeout(20):
        while not texts or "settled" not in texts[-1]:
            data = await reader.read(65536)
            assert data, f"closed after {texts[-1:]}"
            protocol.receive_data(data)
            texts += [
                json.loads(bytes(event.data))
                for event in protocol.events_received()
                if isinstance(event, Frame) and event.opcode is Opcode.TEXT
            ]
    return texts


async def raw(stage: Stage, channel: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client that reads only when it is told to, and hides little."""
    url = urlsplit(stage.address)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (url.hostname, url.port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=65536)
    writer.write(
        f"GET /realtime?channel={channel} HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    await reader.readuntil(b'"n":0}')
    return reader, writer


async def test_text_that_is_not_utf_8_closes_the_connection() -> None:
    async with dedicated(QUICK, None) as stage, connect(stage.address) as client:
        await client.send(b"\xff", text=True)
        assert (await closing(client))[0] == 1007


async def test_a_message_may_come_in_fragments() -> None:
    async with dedicated(QUICK, None) as stage, connect(stage.address) as client:
        await frame(client)
        await client.send(['{"sett', 'le":"1"}'])
        assert "settled" in await frame(client)


async def test_a_peer_that_answers_no_ping_is_closed() -> None:
    settings = Settings(drain_seconds=0.01, heartbeat_seconds=0.05, pong_timeout_seconds=0.05)
    async with dedicated(settings, None) as stage:
        url = urlsplit(stage.address)
        assert url.hostname is not None
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(
            b"GET /realtime HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        everything = await reader.read()
        writer.close()
        assert (4409).to_bytes(2, "big") + b"no pong" in everything
        assert stage.node.counts.dead_closes == 1


async def test_a_peer_whose_ping_cannot_even_be_written_is_closed_as_slow() -> None:
    settings = Settings(
        drain_seconds=0.01, heartbeat_seconds=0.2, pong_timeout_seconds=0.2, outbox_bytes=64 * 1024 * 1024
    )
    async with dedicated(settings, None) as stage:
        _, stuck = await raw(stage, "ping_update")
        for n in range(20):  # 2 MB: more than the kernel hides of such a peer
            await stage.ping(n, weight="x" * 100_000)
        await stage.node.until_alone()
        stuck.close()
        assert (stage.node.counts.slow_closes, stage.node.counts.dead_closes) == (1, 0)


async def test_a_drained_server_sends_its_clients_away_and_takes_no_more() -> None:
    async with dedicated(QUICK, None) as stage, connect(stage.address) as client:
        await frame(client)
        await stage.node.drain()
        assert "reconnect_after_ms" in (await frame(client))["bye"]
        assert await closing(client) == (1012, "restart")
        status, told = await refusal(_start(connect(stage.address)))
        assert (status, told) == (503, "service unavailable: not ready; try again\n")


async def test_who_comes_while_a_server_drains_is_refused_and_the_others_stay_for_their_turn() -> None:
    node, _ = make_node(Settings(drain_seconds=0.4), None)
    server = Server(node, "127.0.0.1", 0)
    node.start()
    await node.until_accepting()
    await server.start()
    address = server.address
    async with connect(address) as first, connect(address) as second:
        await asyncio.gather(frame(first), frame(second))
        stopping = asyncio.create_task(server.stop())
        assert "bye" in await frame(first)
        with pytest.raises(ConnectionRefusedError):  # a balancer goes on to the next server
            await connect(address)
        assert second.close_code is None
        assert "bye" in await frame(second)
        await stopping
    await node.stop()


@everywhere
async def test_a_full_server_tells_when_to_try_again(carrier: OpenStage) -> None:
    async with carrier(Settings(drain_seconds=0.01, connections=1), None) as stage:
        async with connect(stage.address) as client:
            await frame(client)
            assert await retry_after(stage.address)
            health = stage.node.report()
            assert (health.connections, health.counts.refused, health.ready) == (1, 1, True)
        while stage.node.report().connections:  # noqa: ASYNC110
            await asyncio.sleep(0)
        async with connect(stage.address) as client:
            assert "hello" in await frame(client)


async def retry_after(address: str) -> bool:
    """Be refused; whether a time between one and five seconds is named."""
    with pytest.raises(InvalidStatus) as refused:
        await connect(address)
    response = refused.value.response
    return response.status_code == 503 and 1 <= int(response.headers["Retry-After"]) <= 5


async def test_a_page_that_fails_is_answered_at_once_and_so_is_the_next_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with dedicated(QUICK, None) as stage, httpx.AsyncClient(timeout=3) as http:
        monkeypatch.setattr(stage.node, "report", lambda: 1 / 0)
        for page in ("/metrics", "/readyz"):  # a connection that is not answered is cut after 5 s
            assert (await http.get(stage.http(page))).status_code == 500
        async with connect(stage.address) as client:
            assert "hello" in await frame(client)


def token(subject: str, *, lives: int = 60, key: str = SECRET) -> str:
    now = int(time.time())
    return jwt.encode({"sub": subject, "iat": now - 100, "exp": now + lives}, key, algorithm="HS256")
