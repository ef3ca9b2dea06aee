"""Starlette with SQLAlchemy's AsyncConnection: every subscribed browser receives what a request commits.

DATABASE_URL=postgresql://localhost/shop uvicorn examples.frameworks.starlette_app:app
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from flowcraft import Channels, Event, Realtime, Table, migrate


class ItemUpdate(Event):
    """How many are left."""

    item_id: int
    stock: int


channels = Channels()
item_update = channels.declare("item_update", ItemUpdate, source=Table("items", item_id="id"))
realtime = Realtime(channels)
engine = create_async_engine(os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://", 1))


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    """Make the table and its trigger; an application that lives longer has Alembic do it."""
    async with engine.begin() as connection:
        await connection.execute(
            text("create table if not exists items (id int primary key, stock int not null)")
        )
    await migrate(realtime.dsn, channels)
    yield
    await engine.dispose()


async def items(_: Request) -> JSONResponse:
    """The state and the cursor after it, in one statement: the page subscribes since that cursor."""
    query = """
        select flowcraft.cursor() as cursor,
               coalesce(json_agg(json_build_object('item_id', id, 'stock', stock) order by id), '[]') as items
        from items
    """
    async with engine.connect() as connection:
        row = (await connection.execute(text(query))).one()
    return JSONResponse({"items": row.items, "cursor": row.cursor})


async def put(request: Request) -> Response:
    """Set the stock of an item."""
    query = "insert into items values (:id, :stock) on conflict (id) do update set stock = excluded.stock"
    values = {"id": request.path_params["item_id"], "stock": int(request.query_params["stock"])}
    async with engine.begin() as connection:
        await connection.execute(text(query), values)
    return Response()


async def take(request: Request) -> Response:
    """Take some away; taking too many rolls back, and no event is sent."""
    query = "update items set stock = stock - :count where id = :id returning stock"
    values = {"id": request.path_params["item_id"], "count": int(request.query_params["count"])}
    async with engine.begin() as connection:
        left = await connection.scalar(text(query), values)
        if left is None or left < 0:
            raise HTTPException(409, "there are not that many")
    return Response()


routes = [
    Route("/items", items),
    Route("/items/{item_id:int}", put, methods=["PUT"]),
    Route("/items/{item_id:int}/take", take, methods=["POST"]),
]
app = realtime.asgi(Starlette(routes=routes, lifespan=lifespan))
