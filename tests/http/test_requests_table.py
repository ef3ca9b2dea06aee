"""One table of requests: the dedicated server and the ASGI mount, with their event streams, answer alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from urllib.parse import urlsplit

import pytest

from flowcraft.adapters.jwt import JwtAuthorizer
from flowcraft.entrypoints.asgi import RealtimeApp
from flowcraft.settings import Settings
from tests.support.authority_rows import ANY, NAMED
from tests.support.carriers import SECRET, Started, dedicated, uvicorn_with
from tests.support.request_rows import OWN, SETTINGS, WITH_TOKENS, Answer, Row
from tests.support.requests_table import TABLE

pytestmark = pytest.mark.asyncio
SECONDS = 20
EVERY_ANSWER: dict[str, str | None] = {"cache-control": "no-store, no-transform"}
without_httptools = pytest.mark.skipif(not find_spec("httptools"), reason="httptools is not installed")


def authorizer_of(settings: Settings) -> JwtAuthorizer | None:
    return JwtAuthorizer(SECRET) if settings is WITH_TOKENS else None


@asynccontextmanager
async def mounted(http: str, settings: Settings) -> AsyncIterator[str]:
    started = Started(settings, authorizer_of(settings))
    await started.start()
    await started.node.until_accepting()
    app = RealtimeApp(started, None, "/realtime", settings=settings)
    async with uvicorn_with(app, ws="websockets-sansio", http=http, log_level="critical") as (_, port):
        yield f"http://127.0.0.1:{port}"
    await started.stop()


@asynccontextmanager
async def door_of(name: str, settings: Settings) -> AsyncIterator[tuple[str, str]]:
    """The address of a door, and where its pages are."""
    if name == "dedicated":
        async with dedicated(settings, authorizer_of(settings)) as stage:
            yield stage.address, ""
    else:
        async with mounted(name, settings) as address:
            yield address, "/realtime"


async def answered(address: str, sent: bytes, size: int) -> Answer:
    """Send a request in pieces; return its answer. A connection that is reset without one has status 0."""
    url = urlsplit(address)
    reader, writer = await asyncio.open_connection(url.hostname, url.port, limit=2**20)
    try:
        for at in range(0, len(sent), size):
            writer.write(sent[at : at + size])
            await asyncio.sleep(0)
        return await read_answer(reader, writer, is_head=sent.startswith(b"HEAD "))
    except ConnectionResetError:
        return Answer(0)
    finally:
        writer.transport.abort()


async def read_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_head: bool) -> Answer:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(lines[0].split(" ")[1])
    if status == 100:
        return await read_answer(reader, writer, is_head=is_head)
    pairs = [line.partition(": ") for line in lines[1:-2]]
    headers: dict[str, str | None] = {name.lower(): value for name, _, value in pairs}
    assert len(headers) == len(pairs), f"a header is repeated: {lines}"
    if status == 101:
        return Answer(status, "none", headers)
    length = headers.get("content-length")
    if headers.get("content-type") == "text/event-stream" and not is_head:
        await reader.readuntil(b"retry: 1000\n\n")
        return Answer(status, "stream", headers)
    body = await reader.readexactly(int(length)) if length and not is_head else b""
    with suppress(OSError):
        writer.write_eof()  # a server that keeps the connection closes it now
    rest = await reader.read()
    if length is None and status != 204:  # the body of a server that says so by closing
        return Answer(status, "text" if rest else "none", headers)
    assert rest == b"" or rest.startswith(b"HTTP/1.1 "), f"more than the body: {rest!r}"
    return Answer(status, "text" if body else "none", headers)


def expected(row: Row, door: str, found: Answer) -> Answer:
    """What a door must answer, with the headers of what it has answered that no row names."""
    host = row.host.get(door)
    if host is not None:
        return Answer(host, found.body, found.headers)
    headers = {**row.answer.headers, **({} if row.answer.status == 101 else EVERY_ANSWER)}
    present = {name: value for name, value in headers.items() if value is not None}
    others = {name: value for name, value in found.headers.items() if name not in headers}
    return Answer(row.answer.status, row.answer.body, others | present)


@pytest.mark.parametrize(
    ("door", "size"),
    [
        ("dedicated", 2**20),
        ("dedicated", 7),
        ("h11", 2**20),
        pytest.param("httptools", 2**20, marks=without_httptools),
    ],
)
@pytest.mark.parametrize(
    "settings",
    [SETTINGS, OWN, WITH_TOKENS, ANY, NAMED],
    ids=["listed", "own", "with tokens", "any", "named"],
)
async def test_a_request_has_the_answer_of_the_table(door: str, size: int, settings: Settings) -> None:
    wrong: dict[str, tuple[Answer, Answer]] = {}
    async with door_of(door, settings) as (address, at):
        for name, row in TABLE.items():
            sent = row.sent.replace(b"{at}", at.encode())
            if row.settings is settings and len(sent) < 5000 * size:
                async with asyncio.timeout(SECONDS):
                    found = await answered(address, sent, size)
                if found != (wanted := expected(row, door, found)):
                    wrong[name] = (found, wanted)
    assert wrong == {}
