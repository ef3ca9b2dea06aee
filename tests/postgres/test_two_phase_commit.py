"""Where transactions can be prepared, each of ours can be, whatever the readers do, and its events arrive."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from flowcraft.adapters.postgres.embedded import EmbeddedPostgres
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.adapters.postgres.service import PostgresRealtimeService
from flowcraft.channels import Channels
from flowcraft.core.wakeup import Idle
from flowcraft.declarations import Table
from flowcraft.events import Event
from flowcraft.testing.databases import DatabaseServer
from flowcraft.testing.databases import database as empty_database
from tests.support.following import Followed, following
from tests.support.postgres import AppendablePostgresLog, connected


class Thing(Event):
    id: int


channels = Channels()
thing = channels.declare("thing_update", Thing, source=Table("thing"))
typing = channels.declare("typing_update", Thing, durable=False)

BROADCAST = """select flowcraft.broadcast('thing_update', '{"type":"Thing","id":1}')"""
EPHEMERAL = """select flowcraft.broadcast_ephemeral('typing_update', '{"type":"Thing","id":1}')"""
INSERT = "insert into thing values (1)"


@pytest.fixture(scope="module")
def prepared_server() -> Iterator[DatabaseServer]:
    with EmbeddedPostgres.start(settings={"max_prepared_transactions": "10"}) as server:
        yield server


@pytest.fixture
async def log(prepared_server: DatabaseServer) -> AsyncIterator[AppendablePostgresLog]:
    with empty_database(prepared_server) as dsn:
        async with connected(dsn) as connection:
            await connection.execute("create table thing (id integer)")
        await migrate(dsn, channels)
        log = AppendablePostgresLog(dsn)
        yield log
        await log.close()


async def until_idle(followed: Followed) -> None:
    await followed.until(lambda: followed.listener.machine_state == Idle())


@pytest.mark.parametrize(
    "transaction",
    [
        pytest.param([BROADCAST], id="broadcast"),
        pytest.param([INSERT], id="trigger"),
        pytest.param([EPHEMERAL], id="ephemeral"),
        pytest.param([EPHEMERAL, INSERT, BROADCAST], id="all"),
        pytest.param(["savepoint s", INSERT, "release s"], id="savepoint"),
        pytest.param(["savepoint s", BROADCAST, "rollback to s", BROADCAST], id="rolled back savepoint"),
        pytest.param(["select pg_advisory_lock(1, 2)", BROADCAST], id="session lock"),
        pytest.param(["select pg_advisory_xact_lock(3, 4)", INSERT], id="transaction lock"),
        pytest.param(["set local synchronous_commit = off", INSERT], id="asynchronous commit"),
        pytest.param(["set local session_replication_role = replica", BROADCAST], id="replica"),
    ],
)
async def test_what_writes_events_can_be_prepared_beside_an_idle_reader(
    log: AppendablePostgresLog, transaction: list[str]
) -> None:
    async with following(log, log.dsn) as followed, connected(log.dsn) as writer:
        await writer.execute("create temp table before_it (n integer)")
        for n in range(3):
            await until_idle(followed)
            before = len(followed.payloads)
            await writer.execute("begin")
            for statement in transaction:
                await writer.execute(statement)
            await writer.execute(f"prepare transaction 'p{n}'")
            await writer.execute(f"commit prepared 'p{n}'")
            await followed.until_read(before + 1)
        assert followed.listener.notifications == 0


async def test_a_transaction_that_stays_prepared_holds_up_no_other(log: AppendablePostgresLog) -> None:
    async with following(log, log.dsn) as followed, connected(log.dsn) as writer:
        await writer.execute(f"begin; {INSERT}; prepare transaction 'late'")
        await writer.execute("insert into thing values (2)")
        await followed.until_read(1)
        await writer.execute("commit prepared 'late'")
        await followed.until_read(2)
        assert followed.payloads == ['{"type":"Thing","id":2}', '{"type":"Thing","id":1}']


async def test_the_transaction_of_a_role_that_opted_in_notifies_and_cannot_be_prepared(
    log: AppendablePostgresLog,
) -> None:
    async with following(log, log.dsn) as followed, connected(log.dsn) as writer:
        await until_idle(followed)
        await writer.execute("set flowcraft.notify = 'on'")
        await writer.execute(f"begin; {INSERT}")
        with pytest.raises(asyncpg.FeatureNotSupportedError):
            await writer.execute("prepare transaction 'p'")
        await until_idle(followed)
        await writer.execute(INSERT)
        await followed.until_read(1)
        assert followed.listener.notifications == 1


async def test_a_service_notifies_from_a_transaction_of_its_own(log: AppendablePostgresLog) -> None:
    async with asyncpg.create_pool(log.dsn, min_size=1, max_size=1) as pool:
        for database in (log.dsn, pool):
            service = PostgresRealtimeService(database)
            async with following(log, log.dsn) as followed:
                await until_idle(followed)
                await service.broadcast(thing, Thing(id=1))
                await followed.until_read(1)
                await followed.until(lambda f=followed: f.listener.notifications == 1)  # type: ignore[misc]
            await service.close()
        assert await pool.fetchval("select current_setting('flowcraft.notify', true)") in (None, "")
