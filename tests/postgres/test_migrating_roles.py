"""A migration follows no name to what another role made; roles that share a schema migrate in turn."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import asyncpg
import pytest

from flowcraft.adapters.postgres.event_lookup import examine
from flowcraft.adapters.postgres.inspection import inspect
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.adapters.postgres.schema import migrate, migration_sql
from flowcraft.adapters.postgres.statements import statement
from flowcraft.adapters.postgres.table_facts import inspected, trigger_text
from flowcraft.adapters.postgres.triggers import table_sources
from flowcraft.channels import Channels
from flowcraft.errors import DeclarationError, SchemaNotOwned
from flowcraft.scaffolding.migrations import trigger_statements
from tests.support.postgres import connected
from tests.support.rivals import CREATED, Place, declared, rivals


@pytest.fixture
async def place(database: str) -> AsyncIterator[Place]:
    async with rivals(database) as place:
        yield place


FUNCTIONS = {
    "format(text, text)": "text",
    "format(text, text, text)": "text",
    "format(text, name)": "text",
    "format(text, name, text)": "text",
    "format(text, bigint, int, int)": "text",
    "concat_ws(text, text, text, text)": "text",
    "to_json(text)": "json",
    "row_to_json(record)": "json",
    "pg_advisory_xact_lock(int, int)": "int",
    "to_regnamespace(text)": "regnamespace",
    "to_regclass(text)": "regclass",
    "current_setting(text)": "text",
    "set_config(text, text, boolean)": "text",
    "jsonb_array_elements(jsonb)": "jsonb",
    "setval(regclass, bigint)": "bigint",
    "left_of(oid, int)": "boolean",
    "left_of(oid, regclass)": "boolean",
    "left_of(oid, regnamespace)": "boolean",
    "left_of(text, text)": "boolean",
    "left_of(name, text)": "boolean",
    "joined(text, text)": "text",
    "part(jsonb, text)": "text",
}
OPERATORS = [
    *(("=", *pair, "left_of") for pair in [("oid", "int"), ("oid", "regclass"), ("oid", "regnamespace")]),
    *(("=", *pair, "left_of") for pair in [("text", "text"), ("name", "text")]),
    ("||", "text", "text", "joined"),
    ("->>", "jsonb", "text", "part"),
]
SHADOWS = "".join(
    [
        *(
            f"create function public.{function} returns {result} language plpgsql as "
            "'begin perform public.note(); return null; end';"
            for function, result in FUNCTIONS.items()
        ),
        *(
            f"create operator public.{name} (leftarg = {left}, rightarg = {right}, "
            f"function = public.{function});"
            for name, left, right, function in OPERATORS
        ),
        "create domain public.text as pg_catalog.text; create domain public.jsonb as pg_catalog.jsonb",
    ]
)


@pytest.mark.parametrize("path", ["public", "public, pg_catalog"])
async def test_what_is_on_the_search_path_does_not_stand_in_for_what_postgresql_has(
    place: Place, path: str
) -> None:
    await place.attack(SHADOWS)
    name = await place.admin.fetchval("select current_database()")
    await place.admin.execute(f"alter database {name} set search_path = {path}")
    for role in ("postgres", place.deployer):
        dsn = place.dsn.replace("//postgres@", f"//{role}@")
        await place.admin.execute("drop schema if exists flowcraft cascade")
        assert (await place.deploy(declared("runs"), role))[-1] == CREATED
        assert await place.deploy(declared("runs"), role) == []
        await place.admin.execute("drop schema flowcraft cascade")
        async with connected(dsn) as connection:
            await connection.execute(migration_sql(declared("runs")))
            await connection.execute("insert into public.runs values (1, 'queued')")
        rows = await place.admin.fetch("select payload from flowcraft.event")
        assert [row["payload"] for row in rows] == ['{"type":"RunUpdate","id":1,"status":"queued"}']
        assert (await inspect(dsn, declared("runs"))).trouble is None
        await examine(dsn, open_seconds=1.0)
        assert await place.ran_as() == set()


async def test_a_reader_calls_nothing_that_is_on_the_search_path(place: Place) -> None:
    await place.attack(SHADOWS)
    await place.deploy(declared(), "postgres")
    log = PostgresLog(place.dsn)
    try:
        start = (await log.position()).cursor
        await place.admin.execute("insert into public.runs values (1, 'queued')")
        assert len((await log.tail(start)).records) == 1
        assert await place.admin.fetchval(statement("readers")) == 0
    finally:
        await log.close()
    assert await place.ran_as() == set()


async def test_the_owner_of_a_schema_named_like_the_migrating_role_does_not_redirect_a_source(
    place: Place,
) -> None:
    await place.attack("create schema postgres; create table postgres.runs (id int, status text)")
    with pytest.raises(DeclarationError) as caught:
        await place.deploy(declared("runs"), "postgres")
    assert str(caught.value) == (
        "channel run_update: postgres.runs and public.runs on the search_path have the name runs; "
        'write Table("postgres.runs") or Table("public.runs")'
    )
    await place.admin.execute("alter table public.runs rename to jobs")
    with pytest.raises(DeclarationError) as caught:
        await place.deploy(declared("runs"), "postgres")
    assert str(caught.value) == (
        'channel run_update: postgres.runs is found by "$user" on the search_path, which another role finds '
        'elsewhere; write Table("postgres.runs")'
    )
    assert (await place.deploy(declared("postgres.runs"), "postgres"))[-1] == (
        "run_update: created the triggers on postgres.runs (insert, update)"
    )


async def test_a_name_outside_of_the_search_path_is_refused_with_every_table_it_may_mean(
    place: Place,
) -> None:
    await place.admin.execute(
        'create schema app; create table app.jobs (id int); create schema "b.c"; '
        'create table "b.c".jobs (id int)'
    )
    with pytest.raises(DeclarationError) as caught:
        await place.deploy(declared("jobs"), "postgres")
    assert str(caught.value) == (
        'channel run_update: there is no table "jobs"; did you mean Table("app.jobs") or '
        'Table("\\"b.c\\".jobs")?'
    )


async def test_an_administrator_may_make_the_schema_for_the_role_that_migrates(place: Place) -> None:
    name = await place.admin.fetchval("select current_database()")
    await place.admin.execute(f"create schema flowcraft authorization {place.deployer}")
    await place.admin.execute(f"revoke create on database {name} from {place.deployer}")
    assert (await place.deploy(declared()))[-1] == CREATED
    assert await place.deploy(declared()) == []


async def test_members_of_the_role_that_owns_the_schema_migrate_in_turn(place: Place) -> None:
    owners = place.deployer.replace("deployer", "owners")
    await place.admin.execute(
        f"grant {owners} to {place.deployer}, {place.mallory}; alter table runs owner to {owners};"
        f"create schema flowcraft authorization {owners}"
    )
    assert CREATED in await place.deploy(declared())
    assert await place.deploy(declared(), place.mallory) == []
    assert len(await place.deploy(Channels(), place.mallory)) == 1
    assert CREATED in await place.deploy(declared(), place.mallory)
    assert await place.deploy(declared()) == []
    owned = await place.admin.fetch("""
        select pg_get_userbyid(proowner) from pg_proc where pronamespace = 'flowcraft'::regnamespace
        union select pg_get_userbyid(relowner) from pg_class where relnamespace = 'flowcraft'::regnamespace
    """)
    assert [tuple(row) for row in owned] == [(owners,)]
    await place.admin.execute("insert into public.runs values (1, 'queued')")
    assert await place.admin.fetchval("select count(*) from flowcraft.event") == 1


async def test_what_default_privileges_give_away_is_taken_back(place: Place) -> None:
    async with connected(place.dsn.replace("//postgres@", f"//{place.deployer}@")) as connection:
        await connection.execute(
            f"alter default privileges grant all on tables to {place.mallory};"
            f"alter default privileges grant all on functions to {place.mallory};"
            f"alter default privileges grant all on schemas to {place.mallory}"
        )
    done = await place.deploy(declared())
    assert f"schema flowcraft: revoke create on schema flowcraft from {place.mallory} cascade" in done
    assert f"schema flowcraft: revoke trigger on table flowcraft.event from {place.mallory} cascade" in done
    assert await place.deploy(declared()) == []
    attempts = (
        "create table flowcraft.mine (id int)",
        "create trigger spy after insert on flowcraft.event for each row execute function public.evil()",
        "create table public.mine (slot smallint references flowcraft.slot)",
    )
    for attempt in attempts:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await place.attack(attempt)


async def test_the_migration_of_one_channel_makes_no_trigger_for_a_schema_of_another_role(
    place: Place,
) -> None:
    async with inspected(place.dsn) as connection:
        trigger = await trigger_text(connection, table_sources(declared())[0])
    statements = trigger_statements(trigger)
    await place.attack(
        "create schema flowcraft; create table flowcraft.event (channel text, payload text);"
        "create trigger spy before insert on flowcraft.event for each row execute function public.evil();"
        "create function flowcraft.wake() returns void language sql as '';"
        "grant all on schema flowcraft to public; grant all on flowcraft.event to public"
    )
    with pytest.raises(asyncpg.RaiseError, match="another role owns the schema flowcraft"):
        await place.admin.execute(statements)
    await place.admin.execute("insert into public.runs values (1, 'queued')")
    assert await place.ran_as() == set()
    await place.admin.execute("drop schema flowcraft cascade")
    await place.deploy(Channels())
    await place.admin.execute(f"set role {place.deployer}; {statements}; reset role")
    await place.admin.execute("insert into public.runs values (1, 'queued')")
    assert await place.admin.fetchval("select count(*) from flowcraft.event") == 1


async def test_a_role_that_made_another_is_not_taken_for_a_member_of_it(place: Place) -> None:
    if place.admin.get_server_version().major < 16:
        pytest.skip("before PostgreSQL 16 to make a role was not to be a member of it")
    made = f"made_by_{place.deployer}"
    await place.admin.execute(f"alter role {place.deployer} createrole")
    async with connected(place.dsn.replace("//postgres@", f"//{place.deployer}@")) as connection:
        await connection.execute(f"create role {made}")
    await place.admin.execute(f"create schema flowcraft authorization {made}")
    try:
        with pytest.raises(SchemaNotOwned, match=f"schema flowcraft, of role {made}"):
            await place.deploy(declared())
    finally:
        await place.admin.execute(f"drop owned by {made} cascade; drop role {made}")


async def test_a_role_is_not_trusted_because_it_made_the_migrating_one_its_member(place: Place) -> None:
    owners = place.deployer.replace("deployer", "owners")
    await place.admin.execute(f"grant {owners} to {place.mallory} with admin option")
    await place.attack(f"grant {owners} to {place.deployer}")
    await place.attack(f"set role {owners}; create schema flowcraft")
    with pytest.raises(SchemaNotOwned, match=f"schema flowcraft, of role {owners}"):
        await place.deploy(declared())


async def test_an_administrator_who_is_no_superuser_may_make_the_owner_and_its_members(place: Place) -> None:
    # As the master users of managed services do.
    keeper, owner, member = (f"{role}_of_{place.deployer}" for role in ("keeper", "owner", "member"))
    name = await place.admin.fetchval("select current_database()")
    await place.admin.execute(
        f"create role {keeper} login createrole; alter database {name} owner to {keeper}"
    )
    try:
        async with connected(place.dsn.replace("//postgres@", f"//{keeper}@")) as connection:
            await connection.execute(
                f"create role {owner}; create role {member} login; grant {owner} to {member};"
                f"grant {owner} to {keeper}; create schema flowcraft authorization {owner}"
            )
        await place.admin.execute(f"alter table public.runs owner to {owner}")
        assert CREATED in await place.deploy(declared(), member)
        assert await place.deploy(declared(), keeper) == []
    finally:
        await place.admin.execute(f"alter database {name} owner to postgres; drop schema flowcraft cascade")
        for role in (member, owner, keeper):
            await place.admin.execute(f"drop owned by {role} cascade; drop role {role}")


async def test_a_transaction_with_an_old_snapshot_is_refused(place: Place) -> None:
    await place.deploy(declared(), "postgres")
    async with place.admin.transaction(isolation="repeatable_read"):
        with pytest.raises(SchemaNotOwned, match="at read committed, not at repeatable read; begin the"):
            await migrate(place.admin, declared())


async def test_a_migration_that_waits_keeps_no_index_from_being_made(place: Place, database: str) -> None:
    """`create index concurrently` waits for every statement that runs, also for one that waits."""
    async with connected(database) as holder, connected(database) as maker:
        await holder.execute("create table if not exists indexed (id int)")
        await holder.execute("begin; select pg_advisory_xact_lock(1718382455, 3)")
        sentences = asyncio.Queue[str]()
        waits = asyncio.create_task(migrate(database, Channels(), waiting=sentences.put_nowait))
        assert f"process {holder.get_server_pid()} " in await asyncio.wait_for(sentences.get(), 20)
        await maker.execute("set statement_timeout = '20s'")
        await maker.execute("create index concurrently on indexed (id)")
        assert not waits.done()
        await holder.execute("commit")
        await asyncio.wait_for(waits, 20)


async def test_the_settings_of_the_caller_are_as_before(place: Place) -> None:
    settings = ("search_path", "lock_timeout", "row_security", "quote_all_identifiers")
    read = "select " + ", ".join(f"current_setting('{name}')" for name in settings)
    await place.admin.execute('set search_path = public, "$user"; set quote_all_identifiers = on')
    async with place.admin.transaction():
        before = await place.admin.fetchrow(read)
        await migrate(place.admin, declared("runs"))
        assert await place.admin.fetchrow(read) == before


async def test_every_function_that_is_installed_finds_only_what_postgresql_has(place: Place) -> None:
    await place.deploy(declared())
    found = await place.admin.fetch(
        "select distinct proconfig[1] from pg_proc where pronamespace = 'flowcraft'::regnamespace"
    )
    assert [tuple(row) for row in found] == [("search_path=pg_catalog, pg_temp",)]


REPLACED = {("attend", "text, boolean, text[], text[], text[]")}
"""What a log of an older version has in the place of a function of ours."""


async def test_the_guard_knows_every_function_of_ours(place: Place) -> None:
    await place.deploy(Channels())
    rows = await place.admin.fetch(
        "select proname, oidvectortypes(proargtypes) from pg_proc "
        "where pronamespace = 'flowcraft'::regnamespace"
    )
    listed = statement("strangers").partition("    values ")[2].partition("\n), part")[0]
    assert set(re.findall(r"\('(\w+)', '([^']*)'\)", listed)) == {tuple(row) for row in rows} | REPLACED
