"""`flowcraft doctor --url` for every kind of address: one line for what is wrong, and never a traceback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from click.testing import CliRunner

from flowcraft.entrypoints.asgi import RealtimeApp
from flowcraft.entrypoints.commands.doctor import command
from flowcraft.entrypoints.proxy_check import check_way
from flowcraft.settings import Settings
from tests.support.carriers import Started, dedicated, uvicorn_with
from tests.support.middlebox import Passes, middlebox

CONNECTION = ["connection"]


@pytest.fixture(autouse=True)
def _no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FLOWCRAFT_DSN", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "url",
    [
        "", "x", "ftp://127.0.0.1/", "ws://", "ws:///realtime", "ws://[::1/realtime",
        "ws://127.0.0.1:99999/realtime", "ws://127.0.0.1:x/realtime", "ws://127.0.0.1:-1/",
        "ws://a b/realtime",
        "ws://127.0.0.1/real time", "ws://127.0.0.1/\r\nX: y", "ws://user:password@127.0.0.1/", "ws://\u00e9..\u00e9/",
        "//127.0.0.1/realtime", "ws:127.0.0.1", "wss://[zz]/",
    ],
)  # fmt: skip
def test_what_is_no_address_is_an_error_of_usage(url: str) -> None:
    done = CliRunner().invoke(command, ["--quick", "--url", url])
    assert done.exit_code == 2
    assert "is not of the form ws://127.0.0.1:8400/realtime" in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ws://127.0.0.1:1/realtime", "no connection"),
        ("wss://127.0.0.1:1/realtime", "no connection"),
        ("ws://127.0.0.1:1", "no connection"),
        ("ws://[::1]:1/realtime", "no connection"),
        ("ws://no-such-host.invalid/realtime", "has no address"),
    ],
)
def test_an_address_without_a_server_is_one_line(url: str, words: str) -> None:
    done = CliRunner().invoke(command, ["--quick", "--json", "--url", url])
    assert done.exit_code == 1, done.output
    lines = {line["about"]: line for line in json.loads(done.output)}
    assert lines["database"]["verdict"] == "note"
    assert words in lines["connection"]["sentence"]
    assert lines["connection"]["verdict"] == "wrong"


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def answering(answer: bytes, *, closes: bool = True) -> AsyncIterator[str]:
    """A server that gives every request the same bytes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        if closes:
            writer.close()
        else:
            await reader.read()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/realtime"
    finally:
        server.close()


def head(status: str, *fields: str, body: str = "") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", body]).encode()


ANSWERS = {
    "nothing": (b"", "closed without an answer"),
    "no HTTP": (b"220 mail.example.com ESMTP\r\n\r\n", "not HTTP"),
    "half a head": (b"HTTP/1.1 101 Switching", "not HTTP"),
    "no status": (b"HTTP/1.1 okay\r\n\r\n", "not HTTP"),
    "TLS expected": (
        head("400 Bad Request", body="The plain HTTP request was sent to HTTPS port"), "use wss://",
    ),
    "a page": (head("200 OK", "Content-Type: text/html", body="<html>shop</html>"), "a page for browsers"),
    "to TLS": (head("301 Moved", "Location: https://127.0.0.1/realtime"), "use wss://"),
    "to a login": (head("302 Found", "Location: /accounts/login/?next=/"), "a login answers"),
    "a slash": (head("307 Temporary Redirect", "Location: /realtime/"), "a slash too many"),
    "elsewhere": (head("308 Permanent Redirect", "Location: /x"), "name its address itself"),
    "credentials": (head("401 Unauthorized"), "credentials"),
    "nowhere": (head("404 Not Found", body="not found"), "nothing is at /realtime"),
    "no method": (head("405 Method Not Allowed"), "without its upgrade"),
    "upgrade required": (head("426 Upgrade Required", body="upgrade required"), "without its upgrade"),
    "an old version": (head("505 HTTP Version Not Supported"), "without its upgrade"),
    "bad gateway": (head("502 Bad Gateway", "Server: nginx"), "the proxy nginx does not reach"),
    "too slow": (head("504 Gateway Timeout"), "does not reach"),
    "not ready": (head("503 Service Unavailable", body="service unavailable: not ready"), "not ready"),
    "something else": (head("418 I'm a teapot"), "in place of 101"),
    "another accept": (
        b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n\r\n", "a cache answers",
    ),
    "latin-1": (b"HTTP/1.1 404 Nicht gefunden\r\nX: \xe4\r\nContent-Length: 1\r\n\r\n\xe4", "nothing is at"),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_other_than_a_websocket_is_named(name: str) -> None:
    answer, words = ANSWERS[name]
    async with answering(answer) as url:
        found = await check_way(url)
    assert [one.verdict for one in found] == ["wrong", "wrong"]
    assert words in found[0].sentence


async def test_what_is_well_is_well_on_both_servers() -> None:
    settings, started = Settings(drain_seconds=0.01, heartbeat_seconds=0.2), Started()
    async with dedicated(settings, None) as stage:
        found = await check_way(stage.address)
        assert [(one.about, one.verdict) for one in found] == [("websocket", "ok"), ("event stream", "ok")]
    async with uvicorn_with(RealtimeApp(started, None, "/live")) as (_, port):
        found = await check_way(f"ws://127.0.0.1:{port}/live", idle=False)
        assert [(one.about, one.verdict) for one in found] == [("websocket", "ok"), ("event stream", "ok")]
    await started.stop()


FILTERED = {
    Passes.NOTHING: "101, and no frame within 5 s",
    Passes.FROM_CLIENT: "101, and no frame within 5 s",
    Passes.FROM_SERVER: "101 and hello, and no pong within 5 s",
    Passes.END: "101, and the connection ended before the first frame",
    Passes.END_AT_A_FRAME: "101 and hello, and the connection ended at the client's first frame",
}


@asynccontextmanager
async def on_uvicorn() -> AsyncIterator[str]:
    started = Started()
    async with uvicorn_with(RealtimeApp(started, None, "/live")) as (_, port):
        yield f"ws://127.0.0.1:{port}/live"
    await started.stop()


@asynccontextmanager
async def on_the_dedicated_server() -> AsyncIterator[str]:
    async with dedicated(Settings(drain_seconds=0.01), None) as stage:
        yield stage.address


@pytest.mark.parametrize("server", [on_the_dedicated_server, on_uvicorn])
async def test_a_middlebox_that_answers_101_and_passes_no_frames_is_named(
    server: Callable[[], AbstractAsyncContextManager[str]],
) -> None:
    async def judged(passes: Passes) -> list[tuple[str, str, str]]:
        async with middlebox(address, passes) as url:
            found = await check_way(url, idle=False)
        return [(one.about, one.verdict, one.sentence.partition(": ")[0]) for one in found]

    async with server() as address:
        stream = ("event stream", "ok", "opens, and sends hello at once")
        assert await judged(Passes.ALL) == [
            ("websocket", "ok", "opens, sends hello, and answers a ping"), stream
        ]  # fmt: skip
        outcomes = await asyncio.gather(*map(judged, FILTERED))
        assert dict(zip(FILTERED, outcomes, strict=True)) == {
            passes: [("websocket", "wrong", words), stream] for passes, words in FILTERED.items()
        }
