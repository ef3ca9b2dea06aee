"""Orders: an order and the money that it moves are one transaction, and one change of every page."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import asyncpg
from fastapi import FastAPI, Response
from fastapi.staticfiles import StaticFiles

from flowcraft import Channels, Event, Realtime, migrate


class Order(Event):
    id: int
    buyer: str
    item: Literal["Lamp", "Notebook", "Pencils", "Stool"]
    price: int
    status: Literal["paid", "packed", "shipped", "cancelled"]


class Account(Event):
    owner: str
    balance: int


channels = Channels()
channels.rows("order_rows", Order, table="orders", key="id")
channels.rows("account_rows", Account, table="accounts", key="owner")
realtime = Realtime(channels)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with realtime, asyncpg.create_pool(realtime.dsn) as app.state.pool:
        await app.state.pool.execute(Path(__file__).with_name("schema.sql").read_text())
        await migrate(realtime.dsn, channels)
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/realtime", realtime.asgi())
app.add_exception_handler(asyncpg.CheckViolationError, lambda _, refused: Response(str(refused), 409))


@app.post("/api/orders", status_code=204)
async def place(buyer: str, item: str) -> None:
    await app.state.pool.execute("select place($1, $2)", buyer, item)


@app.post("/api/orders/{order_id}/{status}", status_code=204)
async def move(order_id: int, status: str) -> None:
    await app.state.pool.execute("select move($1, $2)", order_id, status)


app.mount("/", StaticFiles(directory=Path(__file__).parent / "web/dist", html=True, check_dir=False))
