"""Damaged requests: each has an answer in time on every door, and none leaves an error in the log."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

import h11
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from flowcraft.adapters import request_socket
from flowcraft.adapters.asgi import Receive, Scope, Send, answer_http
from flowcraft.entrypoints.asgi import RealtimeApp
from tests.http.test_requests_table import door_of
from tests.support.carriers import Started
from tests.support.request_rows import SETTINGS
from tests.support.requests_table import TABLE

SECONDS = 5
EXAMPLES = 150
SHORT = sorted({row.sent for row in TABLE.values() if len(row.sent) < 2000})
FIELDS = sorted({line for sent in SHORT for line in sent.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]})
CONTROLS = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
INSERTED = (
    b"\0", b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b",", b";", b"=", b'"', b"%", b"%00", b"/", b"?", b"#",
    b"[", b"\x80", b"\xff", b"\xc3\xa9", b"0", b"-", b"*", b"&token=", b"&channel=", b"\r\n\r\n", b"HTTP/1.0",
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A request of the table with other fields, and with some octets lost, repeated or added."""
    head, _, body = draw(st.sampled_from(SHORT)).partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    for field in draw(st.lists(st.sampled_from(FIELDS), max_size=3)):
        fields.insert(draw(st.integers(0, len(fields))), field)
    for _ in range(draw(st.integers(0, 1 if fields else 0))):
        fields.pop(draw(st.integers(0, len(fields) - 1)))
    sent = b"\r\n".join([line, *fields])
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(sent)))
        added = draw(st.one_of(st.sampled_from(INSERTED), st.binary(max_size=3)))
        sent = sent[:at] + added + sent[at + draw(st.integers(0, 2)) :]
    return sent + b"\r\n\r\n" + body


paths = st.one_of(
    st.sampled_from(
        [
            "",
            "/",
            "*",
            "//",
            "healthz",
            "/realtime",
            "/realtime/",
            "//realtime",
            "http://here",
            "http://[",
            "here:443",
        ]
    ),
    st.text(),
)
bytes_pairs = st.tuples(
    st.sampled_from([b"host", b"Host", b"origin", b"authorization", b"content-length", b"upgrade", b"x"]),
    st.binary(),
)


@pytest.mark.asyncio
@pytest.mark.parametrize("wrapped", [True, False])
async def test_an_application_answers_every_scope(wrapped: bool) -> None:
    """Other servers and frameworks leave a mount other paths than uvicorn does, also an empty one."""
    started, passed = Started(SETTINGS), list[str]()
    await started.start()
    await started.node.until_accepting()

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        passed.append(scope["path"])
        assert (await receive())["type"] == "http.request"
        await answer_http(send, 404, "")

    app = RealtimeApp(started, inner if wrapped else None, "/realtime", settings=SETTINGS)
    scopes = st.fixed_dictionaries(
        {
            "type": st.just("http"),
            "method": st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "get", ""]),
            "path": paths,
            "headers": st.lists(bytes_pairs, max_size=3),
            "query_string": st.one_of(st.just(b"channel=a&token=b"), st.binary()),
        },
        optional={
            "root_path": st.one_of(st.just("/realtime"), st.text()),
            "http_version": st.sampled_from(["1.0", "1.1", "2", "3"]),
            "raw_path": st.one_of(st.none(), st.binary()),
        },
    )

    async def statuses(scope: Scope) -> list[int]:
        sent: list[MutableMapping[str, Any]] = []
        messages = [{"type": "http.request"}, {"type": "http.disconnect"}]

        async def receive() -> MutableMapping[str, Any]:
            return messages.pop(0) if messages else await asyncio.Future[MutableMapping[str, Any]]()

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        await app(scope, receive, send)
        return [message["status"] for message in sent if message["type"] == "http.response.start"]

    loop = asyncio.get_running_loop()

    @settings(max_examples=EXAMPLES, deadline=None, database=None)
    @given(scopes)
    def check(scope: Scope) -> None:
        found = asyncio.run_coroutine_threadsafe(statuses(scope), loop).result(SECONDS)
        assert len(found) == 1
        assert 200 <= found[0] < 600
        assert found[0] != 500

    await asyncio.to_thread(check)
    assert bool(passed) == wrapped
    await started.stop()


class Errors(logging.Handler):
    """Keeps what is logged with an exception, or by the event loop."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info is not None or record.name == "asyncio":
            self.messages.append(self.format(record))


@contextmanager
def served(door: str) -> Iterator[tuple[tuple[str, int], str]]:
    """A door in an event loop of its own, in another thread: a test of Hypothesis has none."""
    ready: list[tuple[str, str]] = []
    listening, stopped, loop = threading.Event(), asyncio.Event(), asyncio.new_event_loop()

    async def serve() -> None:
        async with door_of(door, SETTINGS) as found:
            ready.append(found)
            listening.set()
            await stopped.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert listening.wait(SECONDS)
        address, at = ready[0]
        url = urlsplit(address)
        yield (url.hostname or "", url.port or 0), at
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(SECONDS)
        loop.close()


def is_answered_by_uvicorn(sent: bytes, parser: str) -> bool:
    """Whether uvicorn passes a request on or answers it.

    It does neither to a WebSocket's with content, nor to one with control characters: h11 takes them, and
    then websockets fails without a word.
    """
    lower = sent.lower()
    is_odd = b"content-length" in lower or b"transfer-encoding" in lower or CONTROLS.search(sent) is not None
    return not (b"upgrade" in lower and is_odd) and (parser == "h11" or is_complete(sent))


def is_complete(sent: bytes) -> bool:
    """Whether all of the content has been sent, as h11 reads it; also if it is no request."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(sent)
    try:
        while (event := connection.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.EndOfMessage):
                return True
    except h11.RemoteProtocolError:
        return True
    return False


def status_of(address: tuple[str, int], sent: bytes, *, half_closes: bool) -> bytes:
    """Send a request; return the status line of its answer."""
    with socket.create_connection(address, SECONDS) as client:
        client.sendall(sent)
        if half_closes:  # what is incomplete has an answer at once
            client.shutdown(socket.SHUT_WR)
        arrived = b""
        while b"\r\n" not in arrived and (piece := client.recv(4096)):
            arrived += piece
    return arrived.partition(b"\r\n")[0]


@pytest.mark.parametrize(
    "door",
    [
        "dedicated",
        "h11",
        pytest.param(
            "httptools", marks=pytest.mark.skipif(not find_spec("httptools"), reason="not installed")
        ),
    ],
)
def test_a_damaged_request_has_an_answer(door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_socket, "REQUEST_SECONDS", 0.3)
    monkeypatch.setattr("flowcraft.adapters.asgi_event_stream.REQUEST_SECONDS", 0.3)
    errors, statuses = Errors(), dict[bytes, int]()
    logging.getLogger().addHandler(errors)
    try:
        with served(door) as (address, at):

            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                phases=[Phase.generate],  # to shrink a request that has no answer would take minutes
                suppress_health_check=[HealthCheck.too_slow],
            )
            @given(damaged())
            def check(sent: bytes) -> None:
                assume(door == "dedicated" or is_answered_by_uvicorn(sent, door))
                errors.messages.clear()
                found = status_of(
                    address, sent.replace(b"{at}", at.encode()), half_closes=door == "dedicated"
                )
                version, _, status = found.partition(b" ")
                assert version == b"HTTP/1.1", (sent, found)
                assert status[:1] in b"12345", (sent, found)
                assert not status.startswith(b"500"), sent
                assert errors.messages == [], sent
                statuses[status[:3]] = statuses.get(status[:3], 0) + 1

            check()
    finally:
        logging.getLogger().removeHandler(errors)
    assert len(statuses) > 5, statuses  # more than refusals: answers of many kinds
