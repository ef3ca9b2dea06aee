"""A log of a development version is taken over; one of another version is refused, and left alone."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from flowcraft.adapters.postgres import steps
from flowcraft.adapters.postgres.event_lookup import examine
from flowcraft.adapters.postgres.inspection import inspect
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.adapters.postgres.schema import migrate, migration_sql
from flowcraft.adapters.postgres.statements import migrations
from flowcraft.adapters.postgres.triggers import table_sources
from flowcraft.channels import Channels
from flowcraft.cursors import Cursor
from flowcraft.declarations import Table
from flowcraft.errors import CursorOfOtherDatabase, SchemaDiffers
from flowcraft.events import Event

if TYPE_CHECKING:
    from tests.support.postgres import Plain

OLD = (Path(__file__).parents[1] / "support/development_log.sql").read_text("utf-8")
HASHES = {version: one.hash for version, one in migrations().items()}


class RunUpdate(Event):
    id: int
    status: str


channels = Channels()
channels.declare("run_update", RunUpdate, source=Table("runs"))

Way: TypeAlias = Callable[["Plain"], Awaitable[None]]


def written_to(statements: list[str]) -> steps.Execute:
    """Return what writes statements down, in the place of a driver."""

    def execute(statement: str) -> steps.Rows:
        statements.append(statement)
        return ()

    return execute


async def by_migrate(connection: Plain) -> None:
    await migrate(connection, channels)


async def by_script(connection: Plain) -> None:
    await connection.execute(migration_sql(channels))


async def by_steps(connection: Plain) -> None:
    """As Alembic's operations and Django's migrations do it: one statement after another."""
    written = list[str]()
    steps.upgrade_log(written_to(written), steps.LATEST)
    for source in table_sources(channels):
        steps.create_triggers(written_to(written), source)
    for statement in written:
        await connection.execute(statement)


WAYS = pytest.mark.parametrize("way", [by_migrate, by_script, by_steps])


@pytest.fixture
async def old(connection: Plain) -> Plain:
    """A database that a development version migrated."""
    await connection.execute(OLD)
    return connection


async def hashes(connection: Plain) -> dict[int, str]:
    rows = await connection.fetch("select version, hash from flowcraft.migration order by version")
    return {row["version"]: row["hash"] for row in rows}


async def catalog(connection: Plain) -> list[tuple[object, ...]]:
    """Every object of the schema flowcraft, with what changes when a migration touches it."""
    query = """
        select 'function', oid::text, proname::text, md5(prosrc), xmin::text from pg_proc
            where pronamespace = 'flowcraft'::regnamespace
        union all
        select 'column', attrelid::text, attname::text, atttypid::text, xmin::text from pg_attribute
            where attrelid in (select oid from pg_class where relnamespace = 'flowcraft'::regnamespace)
        union all
        select 'trigger', oid::text, tgname::text, '', xmin::text from pg_trigger where not tgisinternal
        order by 1, 2, 3
    """
    return [tuple(row) for row in await connection.fetch(query)]


@WAYS
async def test_events_stay_when_the_log_is_taken_over_and_a_cursor_of_the_old_form_is_a_reset(
    old: Plain, database: str, way: Way
) -> None:
    await old.execute("select flowcraft.emit('run_update', '{\"n\":1}')")
    cursor = Cursor.parse(await old.fetchval("select flowcraft.cursor()"))
    await old.execute("insert into runs values (2, 'queued')")
    await old.execute("select flowcraft.emit('run_update', '{\"n\":3}')")
    await way(old)
    await old.execute("insert into runs values (4, 'queued')")
    await old.execute("select flowcraft.broadcast('run_update', '{\"n\":5}')")
    log = PostgresLog(database)
    try:
        with pytest.raises(CursorOfOtherDatabase):
            await log.tail(cursor)
        here = (await log.position()).cursor.lineage
        batch = await log.tail(replace(cursor, lineage=here))
    finally:
        await log.close()
    assert [record.payload for record in batch.records] == [
        '{"type":"RunUpdate","id":2,"status":"queued"}',
        '{"n":3}',
        '{"type":"RunUpdate","id":4,"status":"queued"}',
        '{"n":5}',
    ]
    assert await hashes(old) == HASHES
    before = await catalog(old)
    await way(old)
    assert await migrate(old, channels) == []
    assert await catalog(old) == before


async def test_migrate_reports_that_it_took_the_log_over(old: Plain) -> None:
    assert await migrate(old, channels) == [
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
        (
            "schema flowcraft: took over the log of a development version; its functions are now called "
            "flowcraft.broadcast, flowcraft.broadcast_ephemeral and flowcraft.wake"
        ),
        "run_update: replaced the triggers on public.runs (insert, update)",
    ]


@WAYS
async def test_a_new_log_has_the_hash_of_each_migration(connection: Plain, way: Way) -> None:
    await connection.execute("create table runs (id integer primary key, status text)")
    await way(connection)
    assert await hashes(connection) == HASHES
    assert {
        number: hashlib.sha256(one.text.encode()).hexdigest() for number, one in migrations().items()
    } == HASHES


async def test_a_log_that_was_taken_over_is_that_of_a_new_database(old: Plain) -> None:
    query = """
        select p.oid::regprocedure::text, md5(p.prosrc), p.prosecdef, p.provolatile::text,
            p.proparallel::text, p.prorows, p.proconfig::text, p.proacl::text,
            obj_description(p.oid, 'pg_proc')
        from pg_proc as p where pronamespace = 'flowcraft'::regnamespace
        union all
        select a.attrelid::regclass || '.' || a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
            pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum), null, null, null, null
        from pg_attribute as a join pg_class as c on c.oid = a.attrelid
        left join pg_attrdef as d on d.adrelid = c.oid and d.adnum = a.attnum
        where c.relnamespace = 'flowcraft'::regnamespace and c.relkind in ('r', 'p') and a.attnum > 0
        order by 1
    """
    await migrate(old, channels)
    taken_over = await old.fetch(query)
    await old.execute("drop schema flowcraft cascade")
    await migrate(old, channels)
    assert taken_over == await old.fetch(query)


async def test_grants_and_views_go_along(old: Plain) -> None:
    name = await old.fetchval("select current_database()")
    app = f"app_of_{name}"
    await old.execute(f"""
        create role {app};
        grant usage on schema flowcraft to {app};
        grant execute on function flowcraft.emit, flowcraft.announce, flowcraft.ring to {app};
        create view broadcasting as select flowcraft.emit('run_update', '{{}}')::text as done;
        create view late as select stated_at from flowcraft.event
    """)
    try:
        await migrate(old, channels)
        functions = "array['broadcast(text,json)', 'broadcast_ephemeral(text,json)', 'wake()']"
        granted = (
            f"select has_function_privilege('{app}', 'flowcraft.' || f, 'execute') "
            f"from unnest({functions}) as f"
        )
        assert [row[0] for row in await old.fetch(granted)] == [True, True, True]
        await old.fetch("select done from broadcasting")
        assert await old.fetchval("select count(*) from late where stated_at is not null") == 1
    finally:
        await old.execute(f"drop owned by {app}; drop role {app}")


async def test_triggers_of_another_service_write_events_until_it_migrates(old: Plain) -> None:
    await migrate(old, Channels(), prune=False)
    await old.execute("insert into runs values (1, 'queued')")
    assert await old.fetchval("select payload from flowcraft.event") == (
        '{"type":"RunUpdate","id":1,"status":"queued"}'
    )


async def test_a_trigger_that_a_revision_restores_calls_the_wakeup_by_its_present_name(old: Plain) -> None:
    (function,) = [row[2] for row in await catalog(old) if str(row[2]).startswith("run_update")]
    text = await old.fetchval(f"""
        select rtrim(pg_get_functiondef(p.oid), e'\\n') || ';comment on function flowcraft.{function}() is '
            || quote_literal(obj_description(p.oid, 'pg_proc')) || ';'
            || string_agg(pg_get_triggerdef(t.oid), ';')
        from pg_proc as p join pg_trigger as t on t.tgfoid = p.oid
        where p.proname = '{function}' group by p.oid
    """)
    await migrate(old, Channels())
    written = list[str]()
    steps.restore_triggers(written_to(written), str(function), f"{text};")
    for statement in written:
        await old.execute(statement)
    await old.execute("insert into runs values (1, 'queued')")
    assert await old.fetchval("select count(*) from flowcraft.event") == 1


async def test_a_log_without_the_later_migrations_is_taken_over(old: Plain, database: str) -> None:
    await old.execute("""
        delete from flowcraft.migration where version = 3;
        alter table flowcraft.event drop column stated_at, drop column trace;
        drop sequence flowcraft.event_purges; drop function flowcraft.purges()
    """)
    cursor = Cursor.parse(await old.fetchval("select flowcraft.cursor()"))
    await old.execute("insert into runs values (1, 'queued')")
    assert (await migrate(old, channels))[:12] == [
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
    ]
    assert await hashes(old) == HASHES
    log = PostgresLog(database)
    try:
        here = (await log.position()).cursor.lineage
        assert len((await log.tail(replace(cursor, lineage=here))).records) == 1
        assert await old.fetchval("select flowcraft.purges()") == 0
    finally:
        await log.close()


async def test_a_log_with_the_present_names_and_no_hashes_is_taken_over(
    connection: Plain, database: str
) -> None:
    await connection.execute("create table runs (id integer primary key, status text)")
    await migrate(connection, channels)
    cursor = await connection.fetchval("select flowcraft.cursor()")
    await connection.execute("""
        delete from flowcraft.migration where version = 4; alter table flowcraft.migration drop column hash;
        alter table flowcraft.event rename column broadcast_at to stated_at
    """)
    await connection.execute("insert into runs values (1, 'queued')")
    assert (await migrate(connection, channels))[0] == "schema flowcraft: 0004_plain_names"
    assert await hashes(connection) == HASHES
    log = PostgresLog(database)
    try:
        assert len((await log.tail(Cursor.parse(cursor))).records) == 1
    finally:
        await log.close()


FIRST = (
    "a development version migrated this database; its functions get other names, and these need the "
    "old ones; "
    "nothing was changed; change them just before (`set check_function_bodies = off` takes a name "
    "that is not "
    "there yet), then migrate again:"
)
REFUSED = {
    "a function that calls one": (
        (
            "create function notify_run() returns void language plpgsql as "
            "$$ begin perform flowcraft.emit('run_update', '{}'); perform FlowCraft . ring (); end $$"
        ),
        (
            f"{FIRST}\n  function public.notify_run(), of role postgres: write flowcraft.broadcast "
            "instead of "
            "flowcraft.emit, flowcraft.wake instead of flowcraft.ring;"
        ),
    ),
    "a quoted name, and one by the function's search_path": (
        """
        create function first() returns void language sql as
            $$ select "flowcraft"."announce"('run_update', '{}') $$;
        create function second() returns void language plpgsql set search_path = flowcraft, public as
            $$ begin perform emit('run_update', '{}'); end $$
        """,
        (
            f"{FIRST}\n  function public.first(), of role postgres: write "
            "flowcraft.broadcast_ephemeral instead of "
            "flowcraft.announce;\n  function public.second(), of role postgres: write "
            "flowcraft.broadcast instead "
            "of flowcraft.emit;"
        ),
    ),
    "a function that reads the column": (
        (
            "create function latest() returns timestamptz language sql as "
            "$$ select max(stated_at) from flowcraft.event $$"
        ),
        f"{FIRST}\n  function public.latest(), of role postgres: write broadcast_at instead of stated_at;",
    ),
    "a function that has the new name": (
        "create function flowcraft.wake() returns void language sql as 'select'",
        (
            f"{FIRST}\n  function flowcraft.wake(), of role postgres: rename or drop it, for "
            "flowcraft.ring() gets "
            "this name;"
        ),
    ),
    "a log of an early version": (
        "drop table flowcraft.slot; alter sequence flowcraft.event_floor rename to floor",
        (
            "an early development version made the log of this database, which cannot be taken over: "
            "there is no "
            "flowcraft.event_floor, flowcraft.slot has no column newest, flowcraft.slot has no "
            "column opened_at, "
            "flowcraft.slot has no column settled_at, flowcraft.slot has no column slot; nothing was "
            "changed; if its "
            "events may go, run `drop schema flowcraft cascade` and migrate again"
        ),
    ),
}


@pytest.mark.parametrize(("sql", "sentence"), REFUSED.values(), ids=REFUSED)
async def test_what_cannot_be_taken_over_is_named_and_left_alone(old: Plain, sql: str, sentence: str) -> None:
    await old.execute(sql)
    before = await catalog(old)
    with pytest.raises(SchemaDiffers) as caught:
        await migrate(old, channels)
    assert str(caught.value) == sentence
    assert await catalog(old) == before


async def test_triggers_are_not_made_on_a_log_that_was_not_taken_over(old: Plain) -> None:
    written = list[str]()
    (source,) = table_sources(channels)
    steps.create_triggers(written_to(written), source)
    with pytest.raises(Exception, match="not at version 5, which the triggers of channel run_update need"):
        await old.execute(written[0])


OTHER = f"0002_retention has the hash {'0' * 12}, not {migrations()[2].hash[:12]}"


@WAYS
async def test_a_migration_of_another_version_is_refused(connection: Plain, way: Way) -> None:
    await connection.execute("create table runs (id integer primary key, status text)")
    await way(connection)
    await connection.execute("update flowcraft.migration set hash = repeat('0', 64) where version = 2")
    before = await catalog(connection)
    with pytest.raises(Exception, match="another version of flowcraft-realtime") as caught:
        await way(connection)
    assert str(caught.value).partition("\n")[0] == (
        f"another version of flowcraft-realtime migrated this database: {OTHER} in this version; nothing was "
        "changed; migrate with the version that was used before, or, if the events may go, run `drop schema "
        "flowcraft cascade` and migrate again"
    )
    await connection.execute("rollback")
    assert await catalog(connection) == before


async def test_check_and_doctor_report_a_migration_of_another_version(
    connection: Plain, database: str
) -> None:
    await migrate(connection, Channels())
    await connection.execute("update flowcraft.migration set hash = repeat('0', 64) where version = 2")
    assert (await inspect(database, Channels())).differing == (OTHER,)
    assert (await examine(database, open_seconds=1.0)).differing == (OTHER,)


async def test_check_and_doctor_report_a_log_that_was_not_taken_over(old: Plain, database: str) -> None:
    later = tuple([one.name for version, one in migrations().items() if version >= 4])
    assert (await inspect(database, channels)).missing == later
    found = await examine(database, open_seconds=1.0)
    assert (found.missing, found.differing) == (later, ())
