"""FastAPI with SQLAlchemy's AsyncSession: every subscribed browser receives what a request commits.

DATABASE_URL=postgresql://localhost/shop uvicorn examples.frameworks.fastapi_app:app
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flowcraft import Channels, Event, Realtime, Table, migrate


class Base(DeclarativeBase):
    """What SQLAlchemy knows of the database."""


class Item(Base):
    """Something to sell."""

    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    stock: Mapped[int]


class ItemUpdate(Event):
    """How many are left."""

    item_id: int
    stock: int


channels = Channels()
item_update = channels.declare("item_update", ItemUpdate, source=Table("items", item_id="id"))
realtime = Realtime(channels)
engine = create_async_engine(os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://", 1))


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Make the table and its trigger; an application that lives longer has Alembic do it."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await migrate(realtime.dsn, channels)
    yield
    await engine.dispose()


async def transaction() -> AsyncIterator[AsyncSession]:
    """One transaction for a request: committed when it succeeds, rolled back when it raises."""
    async with AsyncSession(engine) as session, session.begin():
        yield session


async def snapshot() -> AsyncIterator[AsyncSession]:
    """One view of the database for all that a request reads."""
    async with AsyncSession(engine.execution_options(isolation_level="REPEATABLE READ")) as session:
        yield session


api = FastAPI(lifespan=lifespan)
# Committed before the response is sent, so that its reader finds the change.
Transaction = Annotated[AsyncSession, Depends(transaction, scope="function")]
Snapshot = Annotated[AsyncSession, Depends(snapshot)]


@api.get("/items")
async def items(session: Snapshot) -> dict[str, object]:
    """The state and the cursor after it: the page subscribes since that cursor."""
    rows = await session.execute(select(Item.id, Item.stock).order_by(Item.id))
    cursor = await session.scalar(select(func.flowcraft.cursor()))
    return {"items": [{"item_id": row.id, "stock": row.stock} for row in rows], "cursor": cursor}


@api.put("/items/{item_id}")
async def put(item_id: int, stock: int, session: Transaction) -> None:
    """Set the stock of an item."""
    await session.merge(Item(id=item_id, stock=stock))


@api.post("/items/{item_id}/take")
async def take(item_id: int, count: int, session: Transaction) -> None:
    """Take some away; taking too many rolls back, and no event is sent."""
    item = await session.get_one(Item, item_id, with_for_update=True)
    item.stock -= count
    await session.flush()
    if item.stock < 0:
        raise HTTPException(409, "there are not that many")


api.add_middleware(realtime.asgi)
app = api
