"""Rows through real carriers: pages that are larger than a buffer, event streams, and a herd."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from faults.rows_page import RowsPage
from flowcraft import Channels, Event, Realtime, Settings, migrate
from tests.support.carriers import uvicorn_with
from tests.support.postgres import connected
from tests.support.served import SECONDS, served

ROWS = 3_000


class Task(Event):
    id: int
    team_id: int
    title: str


channels = Channels()
task_rows = channels.rows("task_rows.{team_id}", Task, table="tasks", key="id", params={"team_id": int})


@pytest.fixture
async def prepared(database: str) -> str:
    async with connected(database) as connection:
        await connection.execute(f"""
            create table tasks (id int primary key, team_id int not null, title text not null);
            create index on tasks (team_id);
            insert into tasks select n, 7, repeat(n::text, 20) from generate_series(1, {ROWS}) as n
        """)
        await migrate(connection, channels)
    return database


async def until_live(page: RowsPage, client: ClientConnection) -> None:
    async with asyncio.timeout(SECONDS):
        while page.live != set(page.channels):
            for frame in page.received(await client.recv()):
                await client.send(json.dumps(frame))


async def until_shown(page: RowsPage, client: ClientConnection, numbers: list[int]) -> None:
    """Wait until the page shows the rows with these numbers: what it resumes from may be older."""
    async with asyncio.timeout(SECONDS):
        while not page.live or sorted(page.rows["task_rows.7"]) != [(n,) for n in numbers]:
            for frame in page.received(await client.recv()):
                await client.send(json.dumps(frame))


async def opened(page: RowsPage, client: ClientConnection) -> None:
    for frame in page.requests():
        await client.send(json.dumps(frame))
    await until_live(page, client)


async def test_a_state_of_many_pages_arrives_whole_and_goes_on(prepared: str) -> None:
    async with served(Realtime(channels, dsn=prepared)) as (_, address), connect(address) as client:
        page = RowsPage("task_rows.7", "task_rows.8")
        await opened(page, client)
        assert sorted(page.rows["task_rows.7"]) == [(n,) for n in range(1, ROWS + 1)]
        assert page.rows["task_rows.8"] == {}
        async with connected(prepared) as connection:
            await connection.execute("update tasks set team_id = 8 where id <= 10")
        async with asyncio.timeout(SECONDS):
            while len(page.rows["task_rows.8"]) < 10:
                page.received(await client.recv())
        assert len(page.rows["task_rows.7"]) == ROWS - 10


async def test_a_page_that_comes_back_resumes_or_has_a_state_again(prepared: str) -> None:
    page = RowsPage("task_rows.7")
    async with served(Realtime(channels, dsn=prepared)) as (_, address):
        async with connect(address) as client:
            await opened(page, client)
        page.lost()
        async with connected(prepared) as connection:
            await connection.execute("delete from tasks where id > 5")
        async with connect(address) as client:
            await opened(page, client)
            await until_shown(page, client, [1, 2, 3, 4, 5])
        assert page.states == 1
        page.lost()
        async with connected(prepared) as connection, connection.transaction(isolation="repeatable_read"):
            await connection.execute("truncate tasks")
            await connection.execute("insert into tasks values (9, 7, 'nine')")
        async with connect(address) as client:
            await opened(page, client)
            await until_shown(page, client, [9])
        assert page.states == 2


async def test_an_event_stream_has_the_rows(prepared: str) -> None:
    page = RowsPage("task_rows.7")
    async with served(Realtime(channels, dsn=prepared)) as (_, address):
        host, port = address.removeprefix("ws://").partition("/")[0].split(":")
        body = b"".join([json.dumps(frame).encode() + b"\n" for frame in page.requests()])
        reader, writer = await asyncio.open_connection(host, int(port), limit=2**20)
        head = f"POST /realtime/events HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        async with asyncio.timeout(SECONDS):
            while page.live != {"task_rows.7"}:
                line = await reader.readline()
                if line.startswith(b"data: {"):
                    page.received(line.removeprefix(b"data: "))
        writer.close()
    assert len(page.rows["task_rows.7"]) == ROWS


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "as ASGI messages"])
async def test_an_asgi_application_has_the_rows(prepared: str, direct: bool) -> None:
    app = Realtime(channels, dsn=prepared).asgi(direct=direct)
    page = RowsPage("task_rows.7")
    async with uvicorn_with(app, lifespan="on") as (_, port):  # noqa: SIM117  # the port is known then
        async with connect(f"ws://127.0.0.1:{port}/realtime") as client:
            await opened(page, client)
            assert len(page.rows["task_rows.7"]) == ROWS
            async with connected(prepared) as connection:
                await connection.execute("delete from tasks where id > 2")
            await until_shown(page, client, [1, 2])


async def test_limits_and_other_channels_are_answered_on_their_own(prepared: str) -> None:
    settings = Settings(rows_per_channel=10)
    realtime = Realtime(channels, dsn=prepared, settings=settings)
    async with served(realtime) as (_, address), connect(address) as client:
        names = ["task_rows.7", "task_rows.8"]
        await client.send(json.dumps({"subscribe": names, "rows": True, "ref": 1}))
        answers: list[dict[str, Any]] = []
        async with asyncio.timeout(SECONDS):
            while len(answers) < 2:
                frame = json.loads(await client.recv())
                answers += [frame] if "error" in frame or "subscribed" in frame else []
    error = next(frame["error"] for frame in answers if "error" in frame)
    assert (error["code"], error["limit"], error["channel"]) == (
        "limit_exceeded",
        "rows_per_channel",
        names[0],
    )
    assert [frame["rows"] for frame in answers if "subscribed" in frame] == [0]


@pytest.mark.timeout(180)
async def test_a_herd_that_opens_one_list_costs_a_handful_of_reads(prepared: str) -> None:
    """400 clients at once: one read, and one encoding that all share."""
    count = 400
    settings = Settings(connections_per_address=count + 10)
    async with served(Realtime(channels, dsn=prepared, settings=settings)) as (node, address):
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(connect(address)) for _ in range(count)]
            pages = [RowsPage("task_rows.7") for _ in clients]
            await asyncio.gather(*[opened(page, client) for page, client in zip(pages, clients, strict=True)])
            assert all(len(page.rows["task_rows.7"]) == ROWS for page in pages)
        assert node.counts.states == count
        assert node.counts.state_reads <= 5
