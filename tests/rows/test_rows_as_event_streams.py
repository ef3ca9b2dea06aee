"""Rows for clients without our library: a GET of an event stream has them, and resumes by its last id."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest

from faults.rows_page import RowsPage
from flowcraft import Realtime
from flowcraft.adapters.rows_stream import RowsStream
from tests.rows.test_rows_on_the_wire import ROWS, channels
from tests.rows.test_rows_on_the_wire import prepared as prepared  # noqa: PLC0414  # a fixture
from tests.support.carriers import uvicorn_with
from tests.support.event_streams import Stream
from tests.support.postgres import connected
from tests.support.served import served

Door = Callable[[str], AbstractAsyncContextManager[str]]


@asynccontextmanager
async def dedicated(dsn: str) -> AsyncIterator[str]:
    async with served(Realtime(channels, dsn=dsn)) as (_, address):
        yield address.replace("ws://", "http://") + "/events"


@asynccontextmanager
async def mounted(dsn: str) -> AsyncIterator[str]:
    async with uvicorn_with(Realtime(channels, dsn=dsn).asgi(), lifespan="on") as (_, port):
        yield f"http://127.0.0.1:{port}/realtime/events"


doors = pytest.mark.parametrize("door", [dedicated, mounted], ids=["dedicated", "asgi"])


@asynccontextmanager
async def stream(address: str, query: str, last_id: str | None = None) -> AsyncIterator[Stream]:
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    async with (
        httpx.AsyncClient(timeout=20) as client,
        client.stream("GET", f"{address}{query}", headers=headers) as response,
    ):
        yield Stream(response)


async def shown(page: RowsPage, events: Stream, wanted: Callable[[RowsPage], bool]) -> None:
    """Apply events until the page is as wanted; what a browser cannot send is not sent."""
    while not wanted(page):
        page.received(httpx.Response(200, json=await events.next()).content)


def numbers(page: RowsPage) -> list[int]:
    return sorted(number for (number,) in page.rows["task_rows.7"])


def is_live(page: RowsPage) -> bool:
    return page.live == set(page.channels)


@doors
async def test_a_get_has_the_rows_and_goes_on_after_its_last_id(prepared: str, door: Door) -> None:
    page = RowsPage("task_rows.7")
    async with door(prepared) as address, connected(prepared) as connection:
        async with stream(address, "?rows=task_rows.7") as events:
            pages = 0
            while not page.live:
                frame = await events.next()
                pages += isinstance(frame.get("rows"), str)
                assert (events.last_id is None) == ("subscribed" not in frame)
                page.received(httpx.Response(200, json=frame).content)
            assert (len(numbers(page)), pages > 1) == (ROWS, True)
            await connection.execute("delete from tasks where id > 3")
            await shown(page, events, lambda page: numbers(page) == [1, 2, 3])
            await shown(page, events, lambda page: events.last_id == page.cursors["task_rows.7"])
        await connection.execute("delete from tasks where id = 2")
        page.lost()
        async with stream(address, "?rows=task_rows.7", events.last_id) as again:
            await shown(page, again, lambda page: is_live(page) and numbers(page) == [1, 3])
            assert page.states == 1


@doors
async def test_a_stream_asks_again_after_a_reset(prepared: str, door: Door) -> None:
    page = RowsPage("task_rows.7")
    async with door(prepared) as address, stream(address, "?rows=task_rows.7") as events:
        await shown(page, events, is_live)
        before = events.last_id
        async with connected(prepared) as connection, connection.transaction(isolation="repeatable_read"):
            await connection.execute("truncate tasks")
            await connection.execute("insert into tasks values (5, 7, 'five')")
        await shown(page, events, lambda page: not page.live)
        assert events.last_id == before, "what is resumed from here has the reset again"
        await shown(page, events, is_live)
        assert (numbers(page), page.states) == ([5], 2)
        assert events.last_id == page.cursors["task_rows.7"] != before
        page.lost()
        async with stream(address, "?rows=task_rows.7", before) as again:
            await shown(page, again, is_live)
            assert (numbers(page), page.states) == ([5], 3)


@doors
async def test_rows_that_cannot_be_read_now_end_the_stream(prepared: str, door: Door) -> None:
    async with door(prepared) as address, connected(prepared) as connection, connection.transaction():
        await connection.execute("lock table tasks in access exclusive mode")
        async with stream(address, "?rows=task_rows.7") as events:
            assert (await events.until("error"))["error"]["code"] == "rows_unreadable"
            assert (await events.until("code"))["code"] == 1013
            assert (events.name, events.last_id) == ("close", None)


@doors
async def test_rows_have_a_get_of_their_own(prepared: str, door: Door) -> None:
    async with door(prepared) as address, httpx.AsyncClient() as client:
        mixed = await client.get(address, params={"rows": "task_rows.7", "channel": "task_rows.8"})
        posted = await client.post(address, params={"rows": "task_rows.7"}, content="")
    for refused in (mixed, posted):
        assert (refused.status_code, "rows has a GET of its own" in refused.text) == (400, True)


A = b'id: c1\ndata: {"subscribed":["a_rows"],"cursor":"c1","n":0,"rows":1}\n\n'
B = b'id: c2\ndata: {"subscribed":["b_rows"],"cursor":"c2","n":0,"rows":1}\n\n'
POINT = b'id: c3\ndata: {"cursor":"c3","n":0}\n\n'
RESET = b'id: c4\ndata: {"reset":["a_rows"],"reason":"truncated","cursor":"c4"}\n\n'
ROW = b'data: {"channel":"a_rows","payload":{"text":"{\\"reset\\":[\\"a_rows\\"]}"},"id":1}\n\n'
REFUSED = b'data: {"error":{"code":"forbidden","message":"no","channel":"a_rows"}}\n\n'
UNREADABLE = b'data: {"error":{"code":"rows_unreadable","message":"later","channels":["b_rows","c"]}}\n\n'
OTHER = b'data: {"error":{"code":"bad_request","message":"what"}}\n\n'


def bare(*events: bytes) -> bytes:
    return b"".join([event.partition(b"\n")[2] for event in events])


@pytest.mark.parametrize(
    ("sent", "passed", "calls"),
    [
        ([POINT, A, POINT, B, POINT], bare(POINT, A, POINT) + B + POINT, []),
        ([A + POINT + B + POINT], bare(A, POINT) + B + POINT, []),
        ([A, B, POINT, ROW, POINT], bare(A) + B + POINT + ROW + POINT, []),
        ([A, B, RESET, POINT, A], bare(A) + B + bare(RESET, POINT) + A, ["ask a_rows"]),
        ([A, B, POINT + RESET + POINT], bare(A) + B + POINT + bare(RESET, POINT), ["ask a_rows"]),
        ([A, B, OTHER, POINT], bare(A) + B + OTHER + POINT, []),
        ([REFUSED, B, POINT], REFUSED + bare(B, POINT), []),
        ([A, B, REFUSED, POINT], bare(A) + B + REFUSED + bare(POINT), []),
        ([A, UNREADABLE, POINT], bare(A) + UNREADABLE + bare(POINT), ["end"]),
    ],
)
def test_no_event_has_an_id_while_a_channel_is_without_its_rows(
    sent: list[bytes], passed: bytes, calls: list[str]
) -> None:
    called: list[str] = []

    def ask(message: str) -> None:
        assert message == '{"subscribe":["a_rows"],"rows":true}'
        called.append("ask a_rows")

    through: Any = RowsStream(("a_rows", "b_rows"), ask, lambda: called.append("end"))
    assert b"".join([through.passed(events) for events in sent]) == passed
    assert called == calls
