"""The functions that services of any language call."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import asyncpg
import pytest

from flowcraft.adapters.postgres.schema import migrate
from flowcraft.adapters.postgres.statements import statement
from flowcraft.cursors import Cursor
from flowcraft.records import Kind
from tests.support.postgres import AppendablePostgresLog, Ear, connected, migrated
from tests.support.rows import channels, make_table

if TYPE_CHECKING:
    from tests.support.postgres import Plain


@pytest.fixture
async def log(database: str) -> AsyncIterator[AppendablePostgresLog]:
    async with migrated(database) as log:
        yield log


@pytest.fixture
async def connection(database: str, log: AppendablePostgresLog) -> AsyncIterator[Plain]:
    async with connected(database) as connection:
        yield connection


@pytest.mark.parametrize("function", ["broadcast", "broadcast_ephemeral"])
@pytest.mark.parametrize(
    "name", ["", "Runs", "runs.", "runs.a b", "runs.1.2", "runs\n", "a" * 49, "läufe", "runs.'"]
)
async def test_a_channel_outside_the_grammar_is_refused(connection: Plain, function: str, name: str) -> None:
    with pytest.raises(asyncpg.InvalidParameterValueError, match="is not of the form <entity>_update"):
        await connection.execute(f"select flowcraft.{function}($1, '{{}}')", name)


@pytest.mark.parametrize("function", ["broadcast", "broadcast_ephemeral"])
async def test_every_name_of_the_grammar_is_accepted_up_to_its_longest(
    connection: Plain, function: str
) -> None:
    entity, parameter = "a_0" * 16, "Az-_9" * 12 + "Az-_"
    assert (len(entity), len(parameter)) == (48, 64)
    for name in ("a", entity, f"{entity}.{parameter}", f"a.{parameter}", "runs.-", "a.b", f"{entity}.x"):
        await connection.execute(f"select flowcraft.{function}($1, '{{}}')", name)
    for name in (
        f"{entity}a",
        f"a.{parameter}x",
        f"{entity}a.x",
        f"{entity}.{parameter}x",
        "-",
        f"{entity}.",
        "a..b",
    ):
        with pytest.raises(asyncpg.InvalidParameterValueError, match="is not of the form <entity>_update"):
            await connection.execute(f"select flowcraft.{function}($1, '{{}}')", name)


@pytest.mark.parametrize("function", ["broadcast", "broadcast_ephemeral"])
async def test_what_is_not_json_or_nothing_is_refused(connection: Plain, function: str) -> None:
    with pytest.raises(asyncpg.InvalidTextRepresentationError):
        await connection.execute(f"select flowcraft.{function}('run_update', '{{')")
    with pytest.raises(asyncpg.NullValueNotAllowedError, match="event on channel run_update has no payload"):
        await connection.execute(f"select flowcraft.{function}('run_update', null)")
    with pytest.raises(asyncpg.InvalidParameterValueError, match="channel name null"):
        await connection.execute(f"select flowcraft.{function}(null, '{{}}')")


async def test_an_event_over_256_kib_is_refused_and_one_of_256_kib_is_not(connection: Plain) -> None:
    fits = json.dumps("x" * (256 * 1024 - 2))
    await connection.execute("select flowcraft.broadcast('run_update', $1::text::json)", fits)
    with pytest.raises(asyncpg.ProgramLimitExceededError, match="262145 bytes of JSON; at most 262144"):
        await connection.execute(
            "select flowcraft.broadcast('run_update', $1::text::json)", fits.replace("x", "xx", 1)
        )


async def test_an_ephemeral_event_over_7900_bytes_is_refused(connection: Plain) -> None:
    message = json.dumps("x" * 7_900)
    with pytest.raises(asyncpg.ProgramLimitExceededError, match="PostgreSQL carries at most 7900"):
        await connection.execute(
            "select flowcraft.broadcast_ephemeral('run_update', $1::text::json)", message
        )


async def test_an_ephemeral_event_goes_out_as_it_is_and_leaves_nothing_behind(connection: Plain) -> None:
    ear = Ear()
    await connection.add_listener("flowcraft_ephemeral", ear)
    await connection.execute("""select flowcraft.broadcast_ephemeral('runs.1', '{"b": 1,  "a":1.0}')""")
    await connection.execute("select 1")
    (heard,) = ear.heard
    assert heard.startswith('{"channel":"runs.1","payload":{"b": 1,  "a":1.0},"n":1,"check":"')
    assert await connection.fetchval("select count(*) from flowcraft.event") == 0


async def test_a_transaction_rings_once_and_only_if_somebody_is_there_and_nobody_awake(
    connection: Plain, database: str
) -> None:
    ear = Ear()
    await connection.add_listener("flowcraft_wakeup", ear)

    async def emit_twice() -> list[str]:
        async with connection.transaction():
            await connection.execute("select flowcraft.broadcast('runs.1', '{}')")
            await connection.execute("select flowcraft.broadcast('runs.1', '{}')")
        await connection.execute("select 1")
        heard, ear.heard = ear.heard, []
        return heard

    assert await emit_twice() == []
    async with connected(database) as reader:
        await reader.execute(statement("join"))
        assert await emit_twice() == [""]
        await reader.execute(statement("try_lock"))
        assert await emit_twice() == []
        await reader.execute(statement("unlock"))
        assert await emit_twice() == [""]
    # Whoever looked at the locks does not keep them.
    ours = "database = (select oid from pg_database where datname = current_database())"
    assert (
        await connection.fetchval(f"select count(*) from pg_locks where locktype = 'advisory' and {ours}")
        == 0
    )


@pytest.mark.parametrize(
    ("chosen", "kept"), [("off", "local"), ("on", "on"), ("remote_apply", "remote_apply")]
)
async def test_a_transaction_with_an_event_reaches_the_disk_before_it_is_committed(
    connection: Plain, chosen: str, kept: str
) -> None:
    await connection.execute(f"set synchronous_commit to {chosen}")
    async with connection.transaction():
        await connection.execute("select flowcraft.broadcast('runs.1', '{}')")
        assert await connection.fetchval("show synchronous_commit") == kept
    assert await connection.fetchval("show synchronous_commit") == chosen


async def test_a_cursor_is_that_of_the_log(connection: Plain, log: AppendablePostgresLog) -> None:
    assert (
        Cursor.parse(await connection.fetchval("select flowcraft.cursor()")) == (await log.position()).cursor
    )
    await connection.execute("select flowcraft.broadcast('runs.1', '{}')")
    running = [await log.begin() for _ in range(3)]
    await connection.execute("select flowcraft.broadcast('runs.1', '{}')")
    cursor = Cursor.parse(await connection.fetchval("select flowcraft.cursor()"))
    assert cursor == (await log.position()).cursor
    assert cursor.snapshot.xip == {transaction.xid for transaction in running}


async def test_a_cursor_is_as_old_as_the_snapshot_it_is_read_in(connection: Plain, database: str) -> None:
    async with connected(database) as other, connection.transaction(isolation="repeatable_read"):
        before = await connection.fetchval("select flowcraft.cursor()")
        await other.execute("select flowcraft.broadcast('runs.1', '{}')")
        assert await connection.fetchval("select flowcraft.cursor()") == before


async def test_a_role_of_its_own_may_do_what_it_was_granted_and_nothing_else(
    connection: Plain,
) -> None:
    role = f"app_of_{await connection.fetchval('select current_database()')}"
    await connection.execute(f"create role {role}; grant usage on schema flowcraft to {role}")
    await connection.execute(f"grant execute on function flowcraft.broadcast, flowcraft.cursor to {role}")
    try:
        async with connection.transaction():
            await connection.execute(f"set local role {role}")
            await connection.execute("select flowcraft.broadcast('runs.1', '{}')")
            Cursor.parse(await connection.fetchval("select flowcraft.cursor()"))
        for forbidden in (
            "insert into flowcraft.event (channel, payload) values ('runs.1', '{}')",
            "select * from flowcraft.event",
            "select flowcraft.trim('9')",
            "select flowcraft.broadcast_ephemeral('runs.1', '{}')",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f"begin; set local role {role}; {forbidden}")
            await connection.execute("rollback")
    finally:
        await connection.execute(f"drop owned by {role}; drop role {role}")


async def test_every_function_has_its_search_path_pinned_and_is_closed_to_the_public(database: str) -> None:
    await make_table(database)
    await migrate(database, channels)
    async with connected(database) as connection:
        functions = await connection.fetch("""
            select p.proname, p.proconfig, has_function_privilege('public', p.oid, 'execute') as open
            from pg_proc as p where p.pronamespace = 'flowcraft'::regnamespace
        """)
        assert len(functions) > 10
        for name, config, is_open in functions:
            assert "search_path=pg_catalog, pg_temp" in config, name
            assert not is_open, name
        assert not await connection.fetchval("select has_schema_privilege('public', 'flowcraft', 'usage')")


async def test_a_malicious_search_path_reaches_nothing(connection: Plain, log: AppendablePostgresLog) -> None:
    await connection.execute("""
        create schema evil;
        create function evil.pg_notify(text, text) returns void language plpgsql as
            $$ begin raise exception 'evil was called'; end $$;
        create function evil.octet_length(text) returns int language plpgsql as
            $$ begin raise exception 'evil was called'; end $$;
        set search_path = evil, pg_catalog;
    """)
    await connection.execute("select flowcraft.broadcast('runs.1', '{}')")
    assert (
        Cursor.parse(await connection.fetchval("select flowcraft.cursor()")) == (await log.position()).cursor
    )


BULK = "insert into flowcraft.event (channel, payload) select 'runs.1', '{}' from generate_series(1, 9999)"
READ = "select * from flowcraft.difference($1::text::xid8, $2::text[]::xid8[], null, null)"


async def test_a_long_transaction_with_many_events_does_not_slow_down_the_others(
    connection: Plain, database: str, log: AppendablePostgresLog
) -> None:
    if connection.get_server_version().major < 15:
        pytest.skip("its statistics come late")
    await connection.execute("select flowcraft.broadcast('runs.2', '{}')")
    seen = (await log.position()).cursor.snapshot
    async with connected(database) as bulk:
        await bulk.execute("begin")
        await bulk.execute(BULK)
        await connection.execute("select pg_current_xact_id()")
        for query in ("select flowcraft.position()", "select flowcraft.cursor()", READ):
            arguments = [str(seen.xmax), [*map(str, seen.xip)]] if query is READ else []
            before = await entries_read(connection)
            await connection.fetch(query, *arguments)
            assert await entries_read(connection) - before < 10


async def entries_read(connection: Plain) -> int:
    """Return how many entries of the log's indexes have been looked at."""
    await connection.execute("select pg_stat_force_next_flush()")
    entries = await connection.fetchval(
        "select sum(idx_tup_read) from pg_stat_user_indexes "
        "where schemaname = 'flowcraft' and relname like 'event%'"
    )
    return int(entries)


async def test_every_record_has_a_kind(connection: Plain, log: AppendablePostgresLog) -> None:
    beginning = (await log.position()).cursor
    await connection.execute(
        "insert into flowcraft.event (channel, payload, kind) "
        "select 'run_update', '{}', k from unnest($1::\"char\"[]) as k",
        [b"e", b"g", b"r", b"s", b"w"],
    )
    await connection.execute("insert into flowcraft.event (channel, payload) values ('run_update', '{}')")
    kinds = [record.kind for record in (await log.tail(beginning)).records]
    assert kinds == [Kind.EVENT, Kind.GONE, Kind.RESET, Kind.SKIPPED, Kind.WITHDRAWAL, Kind.EVENT]
    assert [record.kind for record in (await log.replay(beginning, ["run_update"])).records] == kinds


async def test_a_trace_of_any_size_fails_no_write(connection: Plain) -> None:
    for size, kept in ((55, True), (128, True), (129, False), (1_000_000, False)):
        await connection.execute("select set_config('flowcraft.traceparent', $1, false)", "0" * size)
        await connection.execute("select flowcraft.broadcast('run_update', '{}')")
        trace = await connection.fetchval("select trace from flowcraft.event order by id desc limit 1")
        assert trace == ("0" * size if kept else None)


async def test_a_publication_for_all_tables_refuses_no_removal(connection: Plain) -> None:
    await connection.execute("create publication everything for all tables")
    await connection.execute("select flowcraft.broadcast('run_update', '{}')")
    assert await connection.fetchval("select flowcraft.purge('run_update')") == 1
