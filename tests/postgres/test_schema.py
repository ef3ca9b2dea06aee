"""Migrations: once, however often and however many at a time, by Python or by psql."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
import pytest

from flowcraft.adapters.postgres.embedded import find_binaries
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.adapters.postgres.schema import migrate, migration_sql
from flowcraft.adapters.postgres.statements import migrations
from flowcraft.channels import Channels
from flowcraft.declarations import Table
from flowcraft.errors import CursorExpired, DeclarationError, LogUnavailable
from flowcraft.events import Event
from tests.support.postgres import connected, migrated

if TYPE_CHECKING:
    from tests.support.postgres import Plain


EVERYTHING = len(migrations()) + 1
"""What a first migration does: each version of the log, and the triggers of one source."""


class RunUpdate(Event):
    run_id: UUID
    status: str
    note: str = ""


def declared(*, table: str = "runs", name: str = "run_update", **columns: str) -> Channels:
    channels = Channels()
    channels.declare(name, RunUpdate, source=Table(table, run_id="id", columns=columns))
    return channels


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Plain]:
    async with connected(database) as connection:
        await connection.execute("create table runs (id uuid primary key, status text)")
        yield connection


async def catalog(connection: Plain) -> list[tuple[object, ...]]:
    """Everything that a migration makes, with the ids that change when it is made anew."""
    query = """
        select 'function', oid::text, proname, md5(prosrc), xmin::text from pg_proc
            where pronamespace = 'flowcraft'::regnamespace
        union all
        select 'trigger', oid::text, tgname, tgrelid::regclass::text, xmin::text from pg_trigger
            where not tgisinternal
        union all
        select 'table', oid::text, relname, '', '' from pg_class
            where relnamespace = 'flowcraft'::regnamespace
        order by 1, 3
    """
    return [tuple(row) for row in await connection.fetch(query)]


async def test_the_second_time_there_is_nothing_to_do(connection: Plain, database: str) -> None:
    assert await migrate(database, declared()) == [
        "schema flowcraft: 0001_log",
        "schema flowcraft: 0002_retention",
        "schema flowcraft: 0003_telemetry",
        "schema flowcraft: 0004_plain_names",
        "schema flowcraft: 0005_kinds",
        "schema flowcraft: 0006_databases",
        "schema flowcraft: 0007_rights",
        "schema flowcraft: 0008_ephemeral",
        "schema flowcraft: 0009_rows",
        "schema flowcraft: 0010_publish",
        "schema flowcraft: 0011_presence",
        "schema flowcraft: 0012_member_counts",
        "schema flowcraft: 0013_backlog",
        "schema flowcraft: 0014_live",
        "run_update: created the triggers on public.runs (insert, update)",
    ]
    before = await catalog(connection)
    assert await migrate(connection, declared()) == []
    assert await catalog(connection) == before


async def test_many_at_once_do_it_once(connection: Plain, database: str) -> None:
    done = await asyncio.gather(*(migrate(database, declared()) for _ in range(6)))
    assert sorted(map(len, done)) == [0, 0, 0, 0, 0, EVERYTHING]


async def test_a_changed_source_replaces_its_triggers_and_an_undeclared_one_loses_them(
    connection: Plain,
) -> None:
    await migrate(connection, declared())
    await connection.execute("alter table runs add column note text")
    assert await migrate(connection, declared()) == [
        "run_update: replaced the triggers on public.runs (insert, update)"
    ]
    assert await migrate(connection, Channels(), prune=False) == []
    (dropped,) = await migrate(connection, Channels())
    assert dropped.startswith("dropped the triggers of flowcraft.run_update_")
    assert [row for row in await catalog(connection) if row[0] == "trigger"] == []


async def test_a_table_that_was_made_anew_gets_its_triggers_back(connection: Plain) -> None:
    await migrate(connection, declared())
    await connection.execute("drop table runs; create table runs (id uuid primary key, status text)")
    assert await migrate(connection, declared()) == [
        "run_update: replaced the triggers on public.runs (insert, update)"
    ]


async def test_other_triggers_and_functions_are_left_alone(connection: Plain) -> None:
    await migrate(connection, declared())
    await connection.execute("""
        create function flowcraft.theirs() returns trigger language plpgsql as 'begin return new; end';
        create trigger theirs before insert on runs for each row execute function flowcraft.theirs()
    """)
    await migrate(connection, Channels())
    assert [row[2] for row in await catalog(connection) if row[0] == "trigger"] == ["theirs"]


@pytest.mark.parametrize(
    ("channels", "sentence"),
    [
        (
            declared(table="missing"),
            'there is no table "missing"; create it first, or correct its name in Table(...)',
        ),
        (declared(table="Runs"), 'there is no table "Runs"; did you mean Table("public.runs")?'),
        (
            declared(status="state"),
            (
                "table public.runs has no column state for the field status of RunUpdate; it has id, status; "
                'name the column: Table(..., status="<column>")'
            ),
        ),
        (
            declared(table="run_view"),
            "public.run_view is not a table; name the table whose rows change in Table(...)",
        ),
    ],
)
async def test_a_source_that_does_not_fit_is_told_and_changes_nothing(
    connection: Plain, channels: Channels, sentence: str
) -> None:
    await connection.execute("create view run_view as select * from runs")
    with pytest.raises(DeclarationError) as caught:
        await migrate(connection, channels)
    assert str(caught.value) == f"channel run_update: {sentence}"
    assert await connection.fetchval("select to_regnamespace('flowcraft')") is None


@pytest.mark.parametrize("table", ["", "a..b", ".runs", "a.b.c.d", 'ru"ns'])
async def test_a_name_that_no_table_can_have_is_refused(table: str) -> None:
    with pytest.raises(DeclarationError, match="a table's name has the form"):
        migration_sql(declared(table=table))


async def test_the_caller_may_take_it_back(connection: Plain) -> None:
    transaction = connection.transaction()
    await transaction.start()
    assert len(await migrate(connection, declared())) == EVERYTHING
    await transaction.rollback()
    assert await connection.fetchval("select to_regnamespace('flowcraft')") is None


async def test_a_table_in_use_does_not_hold_up_the_migration_for_ever(
    connection: Plain, database: str
) -> None:
    await migrate(connection, Channels())
    async with connected(database) as user, user.transaction():
        await user.execute("insert into runs values (gen_random_uuid(), 'queued')")
        await connection.execute("set lock_timeout = '20ms'")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await migrate(connection, declared())


@pytest.mark.skipif(
    not (psql := find_binaries().directory / "psql").exists()
    and not (psql := Path(shutil.which("psql") or "")).name,
    reason="psql is not installed",
)
async def test_the_script_does_the_same_through_psql(
    connection: Plain, database: str, tmp_path: Path
) -> None:
    script = tmp_path / "migration.sql"
    script.write_text(migration_sql(declared()))
    first, again = [await run_psql(database, script) for _ in range(2)]
    assert "run_update: created the triggers on public.runs (insert, update)" in first
    assert "triggers" not in again
    before = await catalog(connection)
    assert await migrate(connection, declared()) == []
    assert await catalog(connection) == before


async def run_psql(dsn: str, script: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        psql, dsn, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--file={script}",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output
    return output.decode()


async def test_a_log_from_a_dump_is_not_read_until_a_migration_has_emptied_it(database: str) -> None:
    async with migrated(database) as log, connected(database) as connection:
        before = (await log.position()).cursor
        await connection.execute("select flowcraft.broadcast('run_update', '{}')")
        # What pg_dump and pg_restore into another system leave behind.
        await connection.execute("update flowcraft.event set xid = '900000000000'")
        await connection.execute("update flowcraft.state set system = 1")
        with pytest.raises(LogUnavailable, match="restored from a dump or upgraded; run `flowcraft migrate`"):
            await log.position()
        assert await migrate(connection, Channels()) == [
            "emptied the log: its transaction ids were those of another database system"
        ]
        with pytest.raises(CursorExpired):
            await log.tail(before)
        position = await log.position()
        await connection.execute("select flowcraft.broadcast('run_update', '{}')")
        assert len((await log.tail(position.cursor)).records) == 1


async def test_an_upgraded_log_keeps_its_events(database: str) -> None:
    async with migrated(database) as log, connected(database) as connection:
        before = (await log.position()).cursor
        await connection.execute("select flowcraft.broadcast('run_update', '{}')")
        await connection.execute("update flowcraft.state set system = 1")
        assert await migrate(connection, Channels()) == ["adopted the log of another database system"]
        assert len((await log.tail(before)).records) == 1


async def test_a_database_without_the_schema_says_what_to_run(database: str) -> None:
    log = PostgresLog(database)
    try:
        with pytest.raises(LogUnavailable, match=r"no schema flowcraft .* run `flowcraft migrate`"):
            await log.position()
    finally:
        await log.close()


async def test_a_transaction_older_than_the_log_may_write_to_it(database: str) -> None:
    async with connected(database) as old:
        await old.execute("begin; select pg_current_xact_id()")
        async with migrated(database) as log:
            start = await log.position()
            await old.execute("select flowcraft.broadcast('run_update', '{}')")
            await old.execute("commit")
            assert len((await log.tail(start.cursor)).records) == 1


async def test_the_owner_of_a_database_needs_no_other_right(database: str) -> None:
    async with connected(database) as superuser:
        name = await superuser.fetchval("select current_database()")
        owner = f"owner_of_{name}"
        await superuser.execute(f"create role {owner} login; alter database {name} owner to {owner}")
        try:
            own = database.replace("//postgres@", f"//{owner}@")
            async with connected(own) as connection:
                await connection.execute("create schema app; create table app.runs (id uuid, status text)")
                assert len(await migrate(connection, declared(table="app.runs"))) == EVERYTHING
                log = PostgresLog(own)
                before = await log.position()
                await connection.execute("insert into app.runs values (gen_random_uuid(), 'queued')")
                assert len((await log.tail(before.cursor)).records) == 1
                assert await connection.fetchval("select flowcraft.cursor()")
                assert await log.trim(before=10**12) == 1
                await log.close()
        finally:
            await superuser.execute(f"alter database {name} owner to postgres")
            await superuser.execute(f"drop owned by {owner} cascade; drop role {owner}")
