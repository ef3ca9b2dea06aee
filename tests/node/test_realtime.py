"""Realtime: an application's one object, inside FastAPI and by itself, on a real database."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import fastapi
import httpx
import pytest
import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from flowcraft import Channels, Event, Realtime, Settings, Table, migrate
from flowcraft.adapters.asgi import AsgiApp
from flowcraft.adapters.postgres.address import NoDatabase


class ItemUpdate(Event):
    """A row of `items`."""

    item_id: int
    name: str


class Typing(Event):
    """Somebody is typing."""

    who: str


channels = Channels()
item_update = channels.declare("item_update", ItemUpdate, source=Table("items", item_id="id"))
typing_update = channels.declare("typing_update", Typing, durable=False)
QUICK = Settings(drain_seconds=0.01)


@pytest.fixture
async def realtime(database: str) -> AsyncIterator[Realtime]:
    connection = await asyncpg.connect(database)
    await connection.execute("create table items (id int primary key, name text not null)")
    await migrate(connection, channels)
    await connection.close()
    async with Realtime(channels, dsn=database, settings=QUICK) as realtime:
        yield realtime


@asynccontextmanager
async def served(app: AsgiApp) -> AsyncIterator[str]:
    """Serve an application on uvicorn; yield its host and port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="websockets-sansio"))
    serving = asyncio.create_task(server.serve([listener]))
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


async def frame(client: ClientConnection) -> dict[str, Any]:
    received: dict[str, Any] = json.loads(await client.recv())
    return received


def wrapped(realtime: Realtime, app: fastapi.FastAPI) -> AsgiApp:
    return realtime.asgi(app)


def mounted(realtime: Realtime, app: fastapi.FastAPI) -> AsgiApp:
    app.mount("/realtime", realtime.asgi())
    return app


@pytest.mark.parametrize(("join", "path"), [(wrapped, "/realtime"), (mounted, "/realtime/")])
async def test_fastapi_serves_pages_and_channels(
    realtime: Realtime, join: Callable[[Realtime, fastapi.FastAPI], AsgiApp], path: str
) -> None:
    app = fastapi.FastAPI()

    @app.get("/hello")
    async def hello() -> str:
        return "hello"

    async with served(join(realtime, app)) as host, httpx.AsyncClient() as http:
        assert (await http.get(f"http://{host}/hello")).json() == "hello"
        async with connect(f"ws://{host}{path}?channel=item_update") as client:
            await frame(client)
            await frame(client)
            await realtime.broadcast(item_update, ItemUpdate(item_id=1, name="said by a service"))
            assert (await frame(client))["payload"]["name"] == "said by a service"
        assert (await http.get(f"http://{host}/realtime/readyz")).json()["ready"] is True


async def test_a_row_and_a_service_in_one_transaction_arrive_as_one_group(realtime: Realtime) -> None:
    async with (
        served(realtime.asgi()) as host,
        connect(f"ws://{host}/realtime?channel=item_update&channel=typing_update") as client,
    ):
        await frame(client)
        await frame(client)
        connection = await asyncpg.connect(realtime.dsn)
        async with connection.transaction():
            await connection.execute("insert into items values (1, 'by its row')")
            await realtime.broadcast(item_update, ItemUpdate(item_id=2, name="beside it"), via=connection)
        assert [(await frame(client))["payload"]["item_id"] for _ in range(2)] == [1, 2]
        assert (await frame(client))["n"] == 2
        await realtime.broadcast(typing_update, Typing(who="ada"))
        assert await frame(client) == {
            "channel": "typing_update",
            "payload": {"type": "Typing", "who": "ada"},
        }
        await connection.close()


async def test_a_state_that_is_read_with_its_cursor_continues_without_gap_or_overlap(
    realtime: Realtime,
) -> None:
    connection = await asyncpg.connect(realtime.dsn)
    async with served(realtime.asgi()) as host:
        await connection.execute("insert into items values (1, 'in the state')")
        row = await connection.fetchrow(
            "select (select json_agg(name) from items) as state, flowcraft.cursor() as cursor"
        )
        assert row is not None
        await connection.execute("insert into items values (2, 'in the stream')")
        async with connect(f"ws://{host}/realtime") as client:
            await client.send(json.dumps({"subscribe": ["item_update"], "since": row["cursor"]}))
            received = [await frame(client) for _ in range(3)]
    assert json.loads(row["state"]) == ["in the state"]
    assert [f["payload"]["name"] for f in received if "channel" in f] == ["in the stream"]
    await connection.close()


async def test_without_a_database_the_error_says_where_to_name_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in ("FLOWCRAFT_DSN", "DATABASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(NoDatabase, match="DATABASE_URL"):
        await Realtime(channels).start()


async def test_serve_leaves_in_order_on_sigterm(realtime: Realtime) -> None:
    program = (
        "from tests.node.test_realtime import channels, QUICK\n"
        "from flowcraft import Realtime\n"
        "from flowcraft.entrypoints.serve import serve\n"
        "serve(Realtime(channels, settings=QUICK), '127.0.0.1', 0, announce=lambda a: print(a, flush=True))\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        env={**os.environ, "DATABASE_URL": realtime.dsn},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        address = (await process.stdout.readline()).decode().strip()
        async with await connected(address) as client:
            await frame(client)
            process.send_signal(signal.SIGTERM)
            assert "bye" in await frame(client)
            await client.wait_closed()
            assert client.close_code == 1012
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def connected(address: str) -> ClientConnection:
    """Connect; `serve` listens before it has read its log, and says so with 503."""
    while True:
        try:
            return await connect(address)
        except InvalidStatus as refused:
            if refused.response.status_code != 503:
                raise
