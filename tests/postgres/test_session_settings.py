"""Every connection of ours has its own settings, whatever the database and the role set for sessions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from flowcraft.adapters.postgres.connections import connect, pinned
from flowcraft.adapters.postgres.inspection import inspect
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.adapters.postgres.pool import OwnPool
from flowcraft.adapters.postgres.retention import PostgresRetention, purge
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.adapters.postgres.service import PostgresRealtimeService
from flowcraft.adapters.postgres.steps import LATEST, create_triggers, differences, log_version, upgrade_log
from flowcraft.adapters.postgres.table_facts import columns_of, inspected
from flowcraft.adapters.postgres.triggers import table_sources
from flowcraft.channels import Channels
from flowcraft.core.wakeup import Idle
from flowcraft.declarations import Table
from flowcraft.events import Event
from tests.support.following import Followed, following
from tests.support.postgres import connected

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class Thing(Event):
    id: int
    at: str


channels = Channels()
thing = channels.declare("thing_update", Thing, source=Table("thing"))

HOSTILE = {
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "default_transaction_deferrable": "on",
    "statement_timeout": "100ms",
    "lock_timeout": "100ms",
    "idle_in_transaction_session_timeout": "100ms",
    "idle_session_timeout": "300ms",
    "transaction_timeout": "300ms",
    "search_path": "nowhere",
    "row_security": "off",
    "TimeZone": "America/St_Johns",
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "sql_standard",
    "bytea_output": "escape",
    "client_encoding": "LATIN1",
    "extra_float_digits": "-15",
    "session_replication_role": "replica",
    "standard_conforming_strings": "off",
    "backslash_quote": "off",
    "quote_all_identifiers": "on",
    "jit": "on",
    "jit_above_cost": "0",
    "exit_on_error": "on",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "synchronous_commit": "off",
    "plpgsql.extra_errors": "all",
    "plpgsql.variable_conflict": "use_column",
    "check_function_bodies": "off",
    "client_min_messages": "error",
    "work_mem": "64kB",
    "enable_indexscan": "off",
    "enable_nestloop": "off",
    "from_collapse_limit": "1",
    "plan_cache_mode": "force_generic_plan",
}
CHOSEN_BY_THE_LIBRARY = (
    "default_transaction_isolation",
    "default_transaction_read_only",
    "client_encoding",
    "search_path",
)
SHOWN = ("transaction_isolation", "transaction_read_only", "statement_timeout", "lock_timeout", "TimeZone")
OURS = ("read committed", "off", "0", "0", "UTC")


async def make_hostile(dsn: str, **settings: str) -> None:
    """Set what every later session of the database begins with."""
    async with connected(dsn) as connection:
        name = await connection.fetchval("select quote_ident(current_database())")
        for setting, value in settings.items():
            if setting == "transaction_timeout" and connection.get_server_version().major < 17:
                continue
            quoted = value if setting == "search_path" else f"'{value}'"
            await connection.execute(f"alter database {name} set {setting} = {quoted}")


@pytest.fixture
async def dsn(database: str) -> str:
    async with connected(database) as connection:
        await connection.execute("create table thing (id integer, at timestamptz)")
    return database


async def until_idle(followed: Followed) -> None:
    await followed.until(lambda: followed.listener.machine_state == Idle())


async def use_everything(dsn: str, table: str) -> None:
    """Migrate, read, broadcast, listen, rotate, purge and look at a database as our processes do."""
    channels = Channels()
    thing = channels.declare("thing_update", Thing, source=Table(table))
    await migrate(dsn, channels)
    assert await migrate(dsn, channels) == []
    async with asyncpg.create_pool(dsn, min_size=1, max_size=2) as pool:
        for database in (dsn, pool):
            log, service = PostgresLog(database), PostgresRealtimeService(database)
            retention = PostgresRetention(database, keep_seconds=3600, ticked=lambda: None)
            async with following(log, dsn) as followed:
                await until_idle(followed)
                await asyncio.sleep(
                    0.35
                )  # longer than any of the limits: nothing signals that one has not acted
                await service.broadcast(thing, Thing(id=1, at="now"))
                await followed.until_read(1)
                assert followed.beginnings == 1
                start = (await log.position()).cursor
                await retention.tick()
                await service.broadcast(thing, Thing(id=2, at="now"))
                assert len((await log.replay(start, ["thing_update"])).records) == 1
                assert await log.trim(before=1) == 0
            for part in (service, retention, log):
                await part.close()
    assert await purge(dsn, [None], dry_run=False) == [4]
    facts = await inspect(dsn, channels)
    assert (facts.trouble, facts.usable, facts.notifies) == (None, True, True)
    async with inspected(dsn) as connection:
        assert [column.name for column in await columns_of(connection, table)] == ["id", "at"]


@pytest.mark.parametrize(
    "name", ["default_transaction_isolation", "default_transaction_read_only", "standard_conforming_strings"]
)
async def test_no_default_of_a_database_or_role_disturbs_us(dsn: str, name: str) -> None:
    await make_hostile(dsn, **{name: HOSTILE[name]})
    await use_everything(dsn, "public.thing")


async def test_all_defaults_at_once_do_not_disturb_us(dsn: str) -> None:
    await make_hostile(dsn, **HOSTILE)
    await use_everything(dsn, "public.thing")


def test_a_migration_by_another_library_does_not_depend_on_defaults(database: str) -> None:
    sources = table_sources(channels)
    with psycopg.connect(database) as connection:
        connection.execute("create table thing (id integer, at timestamptz)")
        for name, value in HOSTILE.items():
            if name not in CHOSEN_BY_THE_LIBRARY and "timeout" not in name:
                connection.execute(SQL("set {} = {}").format(Identifier(*name.split(".")), value))

        def execute(sql: str) -> Sequence[Sequence[Any]]:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

        upgrade_log(execute, LATEST)
        for source in sources:
            create_triggers(execute, source)
        assert log_version(execute) == LATEST
        assert differences(execute, sources) == []


async def test_each_kind_of_connection_has_our_settings(dsn: str) -> None:
    await make_hostile(dsn, **HOSTILE)
    query = "select " + ", ".join(f"pg_catalog.current_setting('{name}')" for name in SHOWN)
    listening = await connect(dsn)
    assert tuple(await listening.fetchrow(query) or ()) == OURS
    await listening.close()
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as given:
        for database in (dsn, given):
            pool = OwnPool(database)
            async with pool.connection() as connection:
                assert tuple(await connection.fetchrow(query) or ()) == OURS
            await pool.close()
        assert tuple(await given.fetchrow(query) or ())[:2] == ("serializable", "on"), (
            "the pool is its owner's"
        )
        async with given.acquire() as connection:
            with pytest.raises(asyncpg.DivisionByZeroError):
                async with pinned(connection):
                    await connection.execute("select 1 / 0")
            assert not connection.is_in_transaction()
