"""Broadcasts travel in the caller's transaction, whatever library it comes from."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

import asyncpg
import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from flowcraft.adapters.postgres.service import PostgresRealtimeService
from flowcraft.channels import Channels
from flowcraft.errors import PayloadInvalid
from flowcraft.events import Event
from flowcraft.records import Record
from tests.support.postgres import AppendablePostgresLog, Ear, connected, migrated

if TYPE_CHECKING:
    from flowcraft.ports import RealtimeService

RUN = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


class Stepped(Event):
    step: int
    note: str = ""


class Typing(Event):
    who: str


channels = Channels()
run = channels.declare("runs.{run_id}", Stepped, params={"run_id": UUID})
typing = channels.declare("typing_update", Typing, durable=False)


@pytest.fixture
async def log(database: str) -> AsyncIterator[AppendablePostgresLog]:
    async with migrated(database, channels) as log:
        yield log


@pytest.fixture
async def service(database: str, log: AppendablePostgresLog) -> AsyncIterator[PostgresRealtimeService]:
    service = PostgresRealtimeService(database)
    yield service
    await service.close()


async def read(log: AppendablePostgresLog) -> list[tuple[str, str]]:
    async with connected(log.dsn) as connection:
        rows = await connection.fetch("select channel, payload from flowcraft.event order by id")
    return [(row["channel"], row["payload"]) for row in rows]


def stepped(*steps: int) -> list[tuple[str, str]]:
    return [(f"runs.{RUN}", f'{{"type":"Stepped","step":{step},"note":""}}') for step in steps]


async def test_a_broadcast_of_its_own_is_committed_when_it_returns(
    service: RealtimeService, log: AppendablePostgresLog
) -> None:
    start = await log.position()
    await service.broadcast(run(RUN), Stepped(step=1))
    (record,) = (await log.tail(start.cursor)).records
    assert record == Record(record.xid, record.id, *stepped(1)[0])


async def test_many_at_once_wait_for_one_another(
    service: RealtimeService, log: AppendablePostgresLog
) -> None:
    await asyncio.gather(*(service.broadcast(run(RUN), Stepped(step=n)) for n in range(20)))
    assert sorted(await read(log)) == sorted(stepped(*range(20)))


Finish: TypeAlias = Callable[[], Awaitable[object]]
Via: TypeAlias = tuple[object, Finish, Finish]


def later(call: Callable[[], object]) -> Finish:
    async def finish() -> object:
        return call()

    return finish


@asynccontextmanager
async def by_asyncpg(dsn: str) -> AsyncIterator[Via]:
    async with connected(dsn) as connection:
        # Whatever codecs the application has set.
        await connection.set_type_codec("json", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
        transaction = connection.transaction()
        await transaction.start()
        yield connection, transaction.commit, transaction.rollback


@asynccontextmanager
async def by_asyncpg_pool(dsn: str) -> AsyncIterator[Via]:
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool, pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        yield connection, transaction.commit, transaction.rollback


@asynccontextmanager
async def by_psycopg(dsn: str) -> AsyncIterator[Via]:
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        yield connection, connection.commit, connection.rollback


@asynccontextmanager
async def by_psycopg_sync(dsn: str) -> AsyncIterator[Via]:
    with psycopg.Connection.connect(dsn) as connection:
        yield connection, later(connection.commit), later(connection.rollback)


def url(dsn: str, driver: str) -> str:
    return dsn.replace("postgresql://", f"postgresql+{driver}://")


@asynccontextmanager
async def by_sqlalchemy_async(dsn: str, driver: str, session: bool) -> AsyncIterator[Via]:
    engine = create_async_engine(url(dsn, driver))
    try:
        if session:
            async with AsyncSession(engine) as held:
                yield held, held.commit, held.rollback
        else:
            async with engine.connect() as connection:
                yield connection, connection.commit, connection.rollback
    finally:
        await engine.dispose()


@asynccontextmanager
async def by_sqlalchemy_sync(dsn: str, kind: str) -> AsyncIterator[Via]:
    engine = create_engine(url(dsn, "psycopg"))
    try:
        if kind == "connection":
            with engine.connect() as connection:
                yield connection, later(connection.commit), later(connection.rollback)
        elif kind == "session":
            with Session(engine) as session:
                yield session, later(session.commit), later(session.rollback)
        else:
            scoped = scoped_session(sessionmaker(engine))
            yield scoped, later(scoped.commit), later(scoped.rollback)
            scoped.remove()
    finally:
        engine.dispose()


WAYS: dict[str, Callable[[str], Any]] = {
    "asyncpg": by_asyncpg,
    "asyncpg from a pool": by_asyncpg_pool,
    "psycopg": by_psycopg,
    "psycopg, synchronous": by_psycopg_sync,
    "sqlalchemy connection, asyncpg": lambda dsn: by_sqlalchemy_async(dsn, "asyncpg", session=False),
    "sqlalchemy session, asyncpg": lambda dsn: by_sqlalchemy_async(dsn, "asyncpg", session=True),
    "sqlalchemy session, psycopg": lambda dsn: by_sqlalchemy_async(dsn, "psycopg", session=True),
    "sqlalchemy connection, synchronous": lambda dsn: by_sqlalchemy_sync(dsn, "connection"),
    "sqlalchemy session, synchronous": lambda dsn: by_sqlalchemy_sync(dsn, "session"),
    "sqlalchemy scoped session, synchronous": lambda dsn: by_sqlalchemy_sync(dsn, "scoped session"),
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_broadcast_via_the_callers_transaction_shares_its_fate(
    service: RealtimeService, log: AppendablePostgresLog, database: str, way: str
) -> None:
    async with WAYS[way](database) as (via, commit, _):
        await service.broadcast(run(RUN), Stepped(step=1, note="100 % :sure ' \\ 🚀"), via=via)
        assert await read(log) == []
        await commit()
        ((_, payload),) = await read(log)
        assert json.loads(payload) == {"type": "Stepped", "step": 1, "note": "100 % :sure ' \\ 🚀"}
    async with WAYS[way](database) as (via, _, rollback):
        await service.broadcast(run(RUN), Stepped(step=2), via=via)
        await rollback()
    assert len(await read(log)) == 1


SYNC_WAYS = [way for way in WAYS if "synchronous" in way]


@pytest.mark.parametrize("way", SYNC_WAYS)
async def test_code_that_cannot_wait_broadcasts_in_its_transaction_too(
    service: PostgresRealtimeService, log: AppendablePostgresLog, database: str, way: str
) -> None:
    async with WAYS[way](database) as (via, commit, _):
        service.broadcast_sync(run(RUN), Stepped(step=1), via=via)
        assert await read(log) == []
        await commit()
    async with WAYS[way](database) as (via, _, rollback):
        service.broadcast_sync(run(RUN), Stepped(step=2), via=via)
        await rollback()
    assert await read(log) == stepped(1)


@pytest.mark.parametrize("way", [way for way in WAYS if way not in SYNC_WAYS])
async def test_code_that_cannot_wait_is_told_what_needs_an_await(
    service: PostgresRealtimeService, log: AppendablePostgresLog, database: str, way: str
) -> None:
    async with WAYS[way](database) as (via, _, rollback):
        with pytest.raises(TypeError, match=r"that one needs `await broadcast\(\.\.\.\)`"):
            service.broadcast_sync(run(RUN), Stepped(step=1), via=via)
        await rollback()


async def test_a_connection_without_a_transaction_is_refused_since_nothing_would_take_the_event_back(
    service: RealtimeService, log: AppendablePostgresLog, database: str
) -> None:
    engine = create_engine(url(database, "psycopg"), isolation_level="AUTOCOMMIT")
    async_engine = create_async_engine(url(database, "asyncpg")).execution_options(
        isolation_level="AUTOCOMMIT"
    )
    async with (
        connected(database) as by_asyncpg,
        await psycopg.AsyncConnection.connect(database, autocommit=True) as by_psycopg,
        AsyncSession(async_engine) as by_async_session,
    ):
        with engine.connect() as by_engine, Session(engine) as by_session:
            for via in (by_asyncpg, by_psycopg, by_engine, by_session, by_async_session):
                with pytest.raises(
                    TypeError, match="has no transaction, so the event is committed even if your change"
                ):
                    await service.broadcast(run(RUN), Stepped(step=1), via=via)
        async with by_psycopg.transaction():
            await service.broadcast(run(RUN), Stepped(step=2), via=by_psycopg)
    assert await read(log) == stepped(2)
    engine.dispose()
    await async_engine.dispose()


async def test_an_error_of_the_database_is_the_transactions_error(
    service: RealtimeService, database: str
) -> None:
    async with connected(database) as connection:
        await connection.execute("drop function flowcraft.broadcast cascade")
        with pytest.raises(asyncpg.UndefinedFunctionError):
            await service.broadcast(run(RUN), Stepped(step=1))
        async with await psycopg.AsyncConnection.connect(database) as via:
            with pytest.raises(psycopg.errors.UndefinedFunction):
                await service.broadcast(run(RUN), Stepped(step=1), via=via)
            with pytest.raises(psycopg.errors.InFailedSqlTransaction):
                await via.execute("select 1")


async def test_an_event_that_does_not_fit_reaches_no_database() -> None:
    service = PostgresRealtimeService("postgresql://nobody@127.0.0.1:1/nowhere")
    with pytest.raises(PayloadInvalid):
        await service.broadcast(run(RUN), Stepped(step="one"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_what_is_no_connection_is_refused_with_a_sentence(
    service: RealtimeService, database: str
) -> None:
    engine = create_async_engine(url(database, "asyncpg"))
    async with asyncpg.create_pool(database, min_size=1, max_size=1) as pool:
        for via in (pool, engine):
            with pytest.raises(TypeError, match="take a connection from it, and pass that"):
                await service.broadcast(run(RUN), Stepped(step=1), via=via)
    with pytest.raises(TypeError, match=r"via takes an asyncpg or psycopg connection, .*; got builtins.str"):
        await service.broadcast(run(RUN), Stepped(step=1), via=database)
    await engine.dispose()


async def test_an_ephemeral_event_is_told_when_the_transaction_commits(
    service: RealtimeService, database: str, log: AppendablePostgresLog
) -> None:
    ear = Ear()
    async with connected(database) as listening, connected(database) as via:
        await listening.add_listener("flowcraft_ephemeral", ear)
        transaction = via.transaction()
        await transaction.start()
        await service.broadcast(typing, Typing(who="ada"), via=via)
        await listening.execute("select 1")
        assert ear.heard == []
        await transaction.commit()
        await listening.execute("select 1")
    (heard,) = ear.heard
    assert heard.startswith(
        '{"channel":"typing_update","payload":{"type":"Typing","who":"ada"},"n":1,"check":"'
    )
    assert await read(log) == []


async def test_a_session_is_used_with_what_it_has_done_before(
    service: RealtimeService, database: str, log: AppendablePostgresLog
) -> None:
    engine = create_async_engine(url(database, "asyncpg"))
    async with AsyncSession(engine) as session, session.begin():
        await session.execute(text("create table things (n int)"))
        await service.broadcast(run(RUN), Stepped(step=1), via=session)
        await session.execute(text("insert into things values (1)"))
    async with connected(database) as connection:
        xids = await connection.fetch(
            "select xmin::text from things union select xid::text from flowcraft.event"
        )
    assert len(xids) == 1
    await engine.dispose()
