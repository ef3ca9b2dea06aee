"""Orders: an order and the money that it moves are one transaction, and one change of every page."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import asyncpg
from fastapi import FastAPI, HTTPException, Response
from fastapi.staticfiles import StaticFiles

from flowcraft import Channels, Event, Realtime, Table, migrate

HERE = Path(__file__).parent
TAKE = "insert into orders (buyer, item, price) select $1, item, price from menu where item = $2 returning *"
MOVE = "update orders set status = $2 where id = $1 and (status, $2) in (table steps) returning buyer, price"
PAY = "update accounts set balance = balance + $2 where owner = $1"


class OrderUpdate(Event):
    order_id: int
    buyer: str
    item: str
    price: int
    status: Literal["paid", "packed", "shipped", "cancelled"]


class AccountUpdate(Event):
    owner: str
    balance: int


rows = [Table("orders", event=OrderUpdate, order_id="id"), Table("accounts", event=AccountUpdate)]
channels = Channels()
shop_update = channels.declare("shop_update", OrderUpdate | AccountUpdate, source=rows)
realtime = Realtime(channels)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with realtime, asyncpg.create_pool(realtime.dsn) as app.state.pool:
        await app.state.pool.execute((HERE / "schema.sql").read_text())
        await migrate(realtime.dsn, channels)
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/realtime", realtime.asgi())
app.add_exception_handler(asyncpg.CheckViolationError, lambda _, __: Response("too little money", 409))


@app.get("/api/shop")
async def shop() -> Response:
    state = await app.state.pool.fetchval((HERE / "shop.sql").read_text())
    return Response(state, media_type="application/json")


@app.post("/api/orders", status_code=204)
async def place(buyer: str, item: str) -> None:
    async with app.state.pool.acquire() as connection, connection.transaction():
        order = await connection.fetchrow(TAKE, buyer, item)
        await connection.executemany(PAY, [(buyer, -order["price"]), ("Shop", order["price"])])


@app.post("/api/orders/{order_id}/{status}", status_code=204)
async def move(order_id: int, status: str) -> None:
    async with app.state.pool.acquire() as connection, connection.transaction():
        if (order := await connection.fetchrow(MOVE, order_id, status)) is None:
            raise HTTPException(409, f"it cannot be {status} now")
        if status == "cancelled":
            await connection.executemany(PAY, [(order["buyer"], order["price"]), ("Shop", -order["price"])])


app.mount("/", StaticFiles(directory=HERE / "web/dist", html=True, check_dir=False))
