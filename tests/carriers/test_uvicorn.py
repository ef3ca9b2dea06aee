"""uvicorn: the application sees every WebSocket, and once it has let one in our frames go to the socket."""

from __future__ import annotations

import asyncio
import json
import os
import select
import socket
import ssl
import struct
import sys
import warnings
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fastapi import FastAPI
from websockets.asyncio.client import connect, unix_connect
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from flowcraft.adapters.asgi import AsgiApp, Receive, Scope, Send
from flowcraft.entrypoints.asgi import RealtimeApp
from flowcraft.records import Ephemeral
from flowcraft.settings import Settings
from tests.carriers.test_carriers import closing, frame, number, opened, raw
from tests.support.carriers import (
    QUICK,
    Started,
    on_uvicorn,
    until,
    uvicorn_with,
    wrapping,
)

IMPLEMENTATIONS = ["websockets", "websockets-sansio", "wsproto"]
ROOT = Path(__file__).parents[2]
every_implementation = pytest.mark.parametrize("ws", IMPLEMENTATIONS)


# Every WebSocket passes the whole application


@every_implementation
async def test_each_message_of_a_client_and_each_close_passes_middleware(ws: str) -> None:
    started, passed = Started(), list[str]()

    def watched(app: AsgiApp) -> AsgiApp:
        async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
            async def receiver() -> Any:
                passed.append((message := await receive())["type"])
                return message

            async def sender(message: Any) -> None:
                passed.append(message["type"])
                await send(message)

            await app(scope, receiver, sender)

        return middleware

    async with (
        uvicorn_with(watched(RealtimeApp(started, None, "/live")), ws=ws) as (_, port),
        connect(f"ws://127.0.0.1:{port}/live") as client,
    ):
        await opened(client, "ping_update")
        await client.send(b"not text")
        assert await closing(client) == (1003, "unsupported data: expected text")
    assert passed == [
        "websocket.connect", "websocket.accept", "websocket.receive", "websocket.receive",
        "websocket.close", "websocket.disconnect",
    ]  # fmt: skip
    await started.stop()


# Which of the two ways a connection has


def in_a_task_of_its_own(app: AsgiApp) -> AsgiApp:
    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        async def sender(message: Any) -> None:
            await send(message)

        await asyncio.create_task(_call(app(scope, receive, sender)))

    return middleware


async def _call(work: Awaitable[None]) -> None:
    await work


def as_it_is(app: AsgiApp) -> AsgiApp:
    return app


def that_answers_for_itself(app: AsgiApp) -> AsgiApp:
    """It has let the client in already when we are asked."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})

        async def sender(message: Any) -> None:
            if message["type"] != "websocket.accept":
                await send(message)

        await app(scope, receive, sender)

    return middleware


def in_a_socket_of_others(app: AsgiApp) -> AsgiApp:
    """It makes several WebSockets of one, which have headers of their own."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "headers": [(b"host", b"inner")]}, receive, send)

    return middleware


@every_implementation
@pytest.mark.parametrize(
    ("wrapped", "direct", "compress"),
    [
        (in_a_task_of_its_own, True, False),
        (that_answers_for_itself, True, False),
        (in_a_socket_of_others, True, False),
        (as_it_is, False, False),
        (as_it_is, True, True),
    ],
)
async def test_what_is_not_proven_and_what_is_not_wanted_goes_by_messages(
    ws: str, wrapped: Callable[[AsgiApp], AsgiApp], direct: bool, compress: bool
) -> None:
    started = Started(Settings(drain_seconds=0.01, compress=compress))
    app = wrapped(RealtimeApp(started, None, "/live", direct=direct))
    async with (
        uvicorn_with(app, ws=ws) as (_, port),
        connect(f"ws://127.0.0.1:{port}/live?channel=ping_update") as client,
    ):
        await opened(client)
        assert started.by == (1, 1)
        started.log.broadcast("ping_update", '{"n":1}')
        assert (await frame(client))["payload"] == {"n": 1}
    await started.stop()


async def test_a_task_of_its_own_is_no_obstacle_where_send_is_uvicorns() -> None:
    started = Started()
    ours = RealtimeApp(started, None, "/live")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.create_task(_call(ours(scope, receive, send)))

    async with uvicorn_with(app) as (_, port), connect(f"ws://127.0.0.1:{port}/live") as client:
        await frame(client)
        assert started.by == (1, 0)
    await started.stop()


def test_starlettes_test_client_is_served_by_messages() -> None:
    started = Started()
    app = FastAPI(on_shutdown=[started.stop])
    app.mount("/live", RealtimeApp(started, None, "/"))
    with warnings.catch_warnings():  # it would rather have another client than httpx
        warnings.simplefilter("ignore")
        from starlette.testclient import TestClient
    testing: Any = TestClient(app)  # its types are those of its own client
    with testing as http, http.websocket_connect("/live/?channel=ping_update") as client:
        assert "hello" in client.receive_json()
        assert client.receive_json()["subscribed"] == ["ping_update"]
        assert http.get("/live/readyz").json()["message_connections"] == 1


async def test_the_health_page_and_a_metric_count_how_many_are_written_to_by_messages() -> None:
    started = Started()
    direct, messages = (RealtimeApp(started, None, "/live", direct=direct) for direct in (True, False))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        chosen = messages if scope.get("query_string") == b"channel=ping_update" else direct
        await chosen(scope, receive, send)

    async with uvicorn_with(app) as (_, port), httpx.AsyncClient() as http:
        address = f"127.0.0.1:{port}/live"
        async with connect(f"ws://{address}") as one, connect(f"ws://{address}?channel=ping_update") as two:
            await asyncio.gather(frame(one), frame(two))
            health = (await http.get(f"http://{address}/readyz")).json()
            assert (health["connections"], health["message_connections"]) == (2, 1)
            assert "flowcraft_message_connections 1.0\n" in (await http.get(f"http://{address}/metrics")).text
    await started.stop()


# Frames of ours and of uvicorn's on one socket


def masked(first: int, payload: bytes) -> bytes:
    return bytes((first, 0x80 | len(payload))) + b"\0\0\0\0" + payload


@every_implementation
async def test_pongs_of_uvicorn_and_frames_of_ours_never_mix(ws: str) -> None:
    settings = Settings(drain_seconds=0.01, outbox_bytes=64 * 1024 * 1024)
    async with on_uvicorn(ws, wrapped=True)(settings, None) as stage:
        _, writer = await raw(stage, "ping_update")
        sock: socket.socket = writer.get_extra_info("socket")
        cast(asyncio.Transport, writer.transport).pause_reading()  # a thread reads
        reading = asyncio.create_task(asyncio.to_thread(_read_strictly, sock.dup(), 1000))
        for n in range(1000):
            writer.write(masked(0x89, b"p" * 120) * 5)
            weight = "x" * (1 + 10_001 * (n % 3))
            stage.node.broadcast_ephemeral(Ephemeral("ping_update", json.dumps({"n": n, "weight": weight})))
            if n % 50 == 0:
                await asyncio.sleep(0)
        assert await reading == [*range(1000)]
        assert stage.node.report().message_connections == 0
        writer.close()


def _read_strictly(sock: socket.socket, count: int) -> list[int]:
    """The numbers of so many events; a frame that is cut, or out of place, is an error."""
    protocol = ClientProtocol(parse_uri("ws://here/"), state=OPEN, max_size=None)
    numbers = list[int]()
    with sock:
        while len(numbers) < count:
            assert select.select([sock], [], [], 20)[0], f"nothing after {numbers[-1:]}"
            protocol.receive_data(sock.recv(65536))
            assert protocol.parser_exc is None
            numbers += [
                json.loads(bytes(event.data))["payload"]["n"]
                for event in protocol.events_received()
                if isinstance(event, Frame) and event.opcode is Opcode.TEXT
            ]
    return numbers


@every_implementation
async def test_middleware_that_sends_waits_while_the_client_does_not_take_what_we_wrote(ws: str) -> None:
    started = Started(Settings(drain_seconds=0.01, outbox_bytes=64 * 1024 * 1024))
    sends: list[Send] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        sends.append(send)
        await RealtimeApp(started, None, "/live")(scope, receive, send)

    async with uvicorn_with(app, ws=ws) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(handshake("/live?channel=ping_update"))
        await reader.readuntil(b'"n":0}')
        for n in range(100):  # 10 MB: more than the kernel hides
            started.log.broadcast("ping_update", json.dumps({"n": n, "pad": "x" * 100_000}))
        await until(lambda: started.node.counts.events == 100)
        sending = asyncio.create_task(_call(sends[0]({"type": "websocket.send", "text": "theirs"})))
        await until(lambda: started.node.report().outbox_bytes > 0)
        assert not sending.done()
        while not sending.done():
            assert await reader.read(65536)
        writer.close()
    await started.stop()


@every_implementation
async def test_a_client_that_only_pings_and_reads_nothing_is_closed_as_slow(ws: str) -> None:
    settings = Settings(drain_seconds=0.01, outbox_bytes=64 * 1024 * 1024, outbox_seconds=1.0)
    async with on_uvicorn(ws)(settings, None) as stage:
        _, writer = await raw(stage, "ping_update")
        flood = asyncio.create_task(_flood(writer))
        for n in range(60):
            await stage.ping(n, weight="x" * 50_000)
        await stage.node.until_alone()
        flood.cancel()
        writer.close()
        assert stage.node.counts.slow_closes == 1


async def _flood(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(masked(0x89, b"p" * 120) * 100)
        await writer.drain()
        await asyncio.sleep(0)


@every_implementation
async def test_messages_that_middleware_sends_of_its_own_come_between_ours_whole(ws: str) -> None:
    started = Started()
    sends: list[Send] = []

    def speaking(app: AsgiApp) -> AsgiApp:
        async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
            sends.append(send)
            await app(scope, receive, send)

        return middleware

    async with (
        uvicorn_with(speaking(RealtimeApp(started, None, "/live")), ws=ws) as (_, port),
        # Without a bound: a full queue stops the client's reading, and with it that of its keepalive's pongs.
        connect(f"ws://127.0.0.1:{port}/live?channel=ping_update", max_size=None, max_queue=None) as client,
    ):
        await opened(client)
        for n in range(20):
            started.log.broadcast("ping_update", json.dumps({"n": n, "pad": "x" * 300_000}))
            await sends[0]({"type": "websocket.send", "text": json.dumps({"theirs": n, "pad": "y" * 90_000})})
        ours, theirs = list[int](), list[int]()
        while len(ours) + len(theirs) < 40:
            received = await frame(client)
            if "theirs" in received:
                theirs.append(received["theirs"])
            elif "id" in received:
                ours.append(received["payload"]["n"])
        assert ours == theirs == [*range(20)]
        assert started.by == (1, 0)
    await started.stop()


LOOPS = {"asyncio": asyncio.run, "uvloop": uvloop.run}


@pytest.mark.parametrize("run", LOOPS.values(), ids=LOOPS)
@pytest.mark.parametrize("over", ["tcp", "tls", "unix"])
@every_implementation
def test_all_arrives_in_order_over_every_kind_of_socket(
    ws: str, over: str, run: Callable[[Awaitable[None]], None], tmp_path: Path
) -> None:
    run(_all_arrives_in_order(ws, over, tmp_path))


async def _all_arrives_in_order(ws: str, over: str, folder: Path) -> None:
    started = Started(Settings(drain_seconds=0.01, outbox_bytes=64 * 1024 * 1024))
    options, address = {}, "ws://127.0.0.1:{port}/live"
    if over == "tls":
        options, address = certified(folder), address.replace("ws:", "wss:")
    elif over == "unix":
        options = {"uds": str(folder / "socket")}
    app = wrapping(RealtimeApp(started, None, "/live"))
    async with uvicorn_with(app, ws=ws, **options) as (_, port):
        if over == "unix":
            connecting = unix_connect(options["uds"], "ws://here/live", max_size=None)
        else:
            trusted = ssl.create_default_context(cafile=options["ssl_certfile"]) if over == "tls" else None
            connecting = connect(address.format(port=port), ssl=trusted, max_size=None)
        async with asyncio.timeout(20), connecting as client:
            await opened(client, "ping_update")
            pongs = list[Awaitable[float]]()
            for n in range(40):  # 8 MB: more than kernels hide
                started.log.broadcast("ping_update", json.dumps({"n": n, "pad": "x" * 200_000}))
                pongs.append(await client.ping())
            assert [await number(client) for _ in range(40)] == [*range(40)]
            await asyncio.gather(*pongs)
            assert started.by == (1, 0)
            await client.send(b"not text")
            assert await closing(client) == (1003, "unsupported data: expected text")
    await started.stop()


def certified(folder: Path) -> dict[str, str]:
    """What uvicorn takes to serve 127.0.0.1 with TLS."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(
            name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1)
        )
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return {"ssl_certfile": str(folder / "certificate"), "ssl_keyfile": str(folder / "key")}


# How they end


@every_implementation
async def test_a_close_that_middleware_sends_is_the_last_frame(ws: str) -> None:
    started = Started()
    sends: list[Send] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        sends.append(send)
        await RealtimeApp(started, None, "/live")(scope, receive, send)

    async with uvicorn_with(app, ws=ws) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(handshake("/live?channel=ping_update"))
        await reader.readuntil(b'"n":0}')
        kick = asyncio.create_task(_call(sends[0]({"type": "websocket.close", "code": 4000})))
        await asyncio.sleep(0)  # it is written; our own task has not run since
        started.node.broadcast_ephemeral(Ephemeral("ping_update", '{"n":1}'))
        writer.write(masked(0x88, (4000).to_bytes(2, "big")))
        rest = await reader.read()
        writer.close()
        await kick
        assert rest.endswith(b"\x88\x02" + (4000).to_bytes(2, "big"))
    await started.stop()


def handshake(target: str) -> bytes:
    return (
        f"GET {target} HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ).encode()


@every_implementation
async def test_a_client_that_resets_its_connection_or_ends_it_half_is_gone(ws: str) -> None:
    async with on_uvicorn(ws, wrapped=True)(QUICK, None) as stage:
        for half in (False, True):
            reader, writer = await raw(stage, "ping_update")
            sock = writer.get_extra_info("socket")
            if half:
                writer.write_eof()
            else:  # with no linger a close is a reset
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            for n in range(50):
                await stage.ping(n, weight="x" * 10_000)
            await stage.node.until_alone()
            writer.close()
            del reader
        assert stage.node.counts.slow_closes == 0


@every_implementation
async def test_a_peer_that_answers_no_ping_is_closed(ws: str) -> None:
    settings = Settings(drain_seconds=0.01, heartbeat_seconds=0.05, pong_timeout_seconds=1.0)
    async with on_uvicorn(ws, wrapped=True)(settings, None) as stage, connect(stage.address) as answers:
        reading = asyncio.create_task(closing(answers))
        reader, writer = await raw(stage, "ping_update")
        async with asyncio.timeout(10):
            everything = await reader.read()
        writer.close()
        assert (4409).to_bytes(2, "big") + b"no pong" in everything
        assert stage.node.counts.dead_closes == 1
        assert not reading.done()
        await answers.close()
        await reading


@every_implementation
@pytest.mark.parametrize("direct", [True, False])
async def test_clients_get_bye_when_uvicorn_ends(ws: str, direct: bool) -> None:
    settings = Settings(drain_seconds=0.05)
    async with (
        on_uvicorn(ws, direct=direct, wrapped=True)(settings, None) as stage,
        connect(stage.address) as one,
        connect(stage.address) as two,
    ):
        await asyncio.gather(frame(one), frame(two))
        assert stage.server is not None
        stage.server.should_exit = True
        for client in (one, two):
            assert "reconnect_after_ms" in (await frame(client))["bye"]
            assert await closing(client) == (1012, "restart")


@pytest.mark.parametrize("graceful", [[], ["--timeout-graceful-shutdown", "1"]], ids=["default", "1 s"])
@every_implementation
async def test_a_signal_sends_the_clients_of_plain_uvicorn_away_and_ends_it(
    ws: str, graceful: list[str], tmp_path: Path
) -> None:
    where = str(tmp_path / "socket")
    command = [sys.executable, "-m", "uvicorn", "tests.support.on_uvicorn:app", "--uds", where, "--ws", ws]
    environment = os.environ | {"DRAIN_SECONDS": "60" if graceful else "0.2"}
    server = await asyncio.create_subprocess_exec(
        *command, *graceful, cwd=ROOT, env=environment, stderr=asyncio.subprocess.PIPE
    )
    assert server.stderr is not None
    async with asyncio.timeout(20):
        await server.stderr.readuntil(b"running on unix socket")
        clients = [await unix_connect(where, "ws://here/live") for _ in range(5)]
        await asyncio.gather(*map(frame, clients))
        server.terminate()
        for client in clients:
            assert "reconnect_after_ms" in (await frame(client))["bye"]
            assert await closing(client) == (1012, "restart")
        log = await server.stderr.read()
        await server.wait()
    assert b"Traceback" not in log
    assert b"Application shutdown complete" in log
