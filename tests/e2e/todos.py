"""A list of todos and its configuration, `tests.e2e.todos:app`: an API whose answers name the transaction."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from flowcraft import Channels, Event, Realtime, Settings

DSN = os.environ["DATABASE_URL"]


class Todo(Event):
    id: UUID
    text: str
    completed: bool


class Config(Event):
    key: str
    value: str


channels = Channels()
todo_rows = channels.rows("todo_rows", Todo, table="todos", key="id")
config_rows = channels.rows("config_rows", Config, table="config", key="key")
realtime = Realtime(channels, dsn=DSN, settings=Settings(any_origin=True, heartbeat_seconds=2))


async def read(request: Request) -> JSONResponse:
    """Return all rows of a table, as an application without realtime does."""
    if request.path_params["table"] == "todos":
        rows = await request.app.state.pool.fetch("select id::text, text, completed from todos order by id")
    else:
        rows = await request.app.state.pool.fetch("select key, value from config order by key")
    return JSONResponse([dict(row) for row in rows])


async def write(request: Request) -> JSONResponse:
    """Run statements of one transaction; answer with its id, by which a page waits for its rows."""
    async with request.app.state.pool.acquire() as connection, connection.transaction():
        for change in await request.json():
            refusal = await apply(connection, change)
            if refusal is not None:
                await connection.execute("rollback")
                return JSONResponse({"error": refusal}, 422)
        xid: str = await connection.fetchval("select pg_current_xact_id()::text")
    return JSONResponse({"xid": xid})


async def apply(connection: asyncpg.Connection[asyncpg.Record], change: dict[str, Any]) -> str | None:
    """Write one row, or return why it is refused."""
    match change:
        case {"delete": id_}:
            await connection.execute("delete from todos where id = $1", UUID(id_))
        case {"todo": {"text": text}} if not text.strip():
            return "a todo has a text"
        case {"todo": {"id": id_, "text": text, "completed": completed}}:
            await connection.execute(
                "insert into todos values ($1, $2, $3) "
                "on conflict (id) do update set text = excluded.text, completed = excluded.completed",
                *(UUID(id_), text, completed),
            )
        case {"config": {"key": key, "value": value}}:
            await connection.execute(
                "insert into config values ($1, $2) on conflict (key) do update set value = excluded.value",
                *(key, value),
            )
        case _:
            return "no such change"
    return None


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Hold the pool of the API."""
    async with asyncpg.create_pool(DSN, min_size=1, max_size=4) as pool:
        app.state.pool = pool
        yield


app = Starlette(
    routes=[Route("/api/{table:str}", read), Route("/api/changes", write, methods=["POST"])],
    lifespan=lifespan,
)
app.add_middleware(realtime.asgi)
