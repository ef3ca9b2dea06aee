"""Which history a cursor is of can be proven: a copy is continued exactly, or answered with a reset."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flowcraft.adapters.postgres.embedded import EmbeddedPostgres, find_binaries
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.adapters.postgres.schema import migrate, migration_sql
from flowcraft.channels import Channels
from flowcraft.cursors import Cursor
from flowcraft.declarations import Table
from flowcraft.errors import CursorOfOtherDatabase, CursorRewound, LogUnavailable
from flowcraft.events import Event
from tests.support.postgres import AppendablePostgresLog, connected, migrated


class Thing(Event):
    id: int


channels = Channels()
channels.declare("thing_update", Thing, source=Table("thing"))


@pytest.fixture
async def log(database: str) -> AsyncIterator[AppendablePostgresLog]:
    async with connected(database) as connection:
        await connection.execute("create table thing (id integer)")
    async with migrated(database, channels) as log:
        yield log


def named(dsn: str, name: str) -> str:
    """Return the address of another database of the same server."""
    return re.sub(r"^(\w+://[^/]*/)[^?]*", rf"\g<1>{name}", dsn)


def name_of(dsn: str) -> str:
    found = re.match(r"^\w+://[^/]*/([^?]*)", dsn)
    assert found
    return found[1]


async def insert(dsn: str, *ids: int) -> None:
    async with connected(dsn) as connection:
        for id_ in ids:
            await connection.execute("insert into thing values ($1)", id_)


async def cursor_now(dsn: str) -> Cursor:
    async with connected(dsn) as connection:
        return Cursor.parse(await connection.fetchval("select flowcraft.cursor()"))


async def payloads(log: PostgresLog, after: Cursor) -> list[str]:
    return [record.payload for record in (await log.replay(after, ["thing_update"])).records]


def dumped(dsn: str, *options: str) -> str:
    """Return what pg_dump writes."""
    command = [str(find_binaries().directory / "pg_dump"), *options, dsn]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def restored(dsn: str, sql: str) -> str:
    """Restore as people do, past errors; return these."""
    command = [str(find_binaries().directory / "psql"), "-qX", dsn]
    return subprocess.run(command, check=False, input=sql, capture_output=True, text=True).stderr


async def test_the_cursor_of_the_log_and_that_of_sql_are_one(log: AppendablePostgresLog) -> None:
    assert await cursor_now(log.dsn) == (await log.position()).cursor
    await insert(log.dsn, 1, 2)
    batch = await log.tail((await log.position()).cursor)
    assert await cursor_now(log.dsn) == (await log.position()).cursor == batch.cursor
    assert batch.cursor.marks


async def test_a_template_copy_renamed_into_place_is_another_database(log: AppendablePostgresLog) -> None:
    await insert(log.dsn, 1)
    await log.close()
    name, copy = name_of(log.dsn), f"{name_of(log.dsn)}_copy"
    async with connected(named(log.dsn, "postgres")) as admin:
        await admin.execute(f'create database "{copy}" template "{name}"')
        seen = await cursor_now(log.dsn)
        await insert(log.dsn, 2)
        newer = await cursor_now(log.dsn)
        await admin.execute(f'alter database "{name}" rename to "{name}_old"')
        await admin.execute(f'alter database "{copy}" rename to "{name}"')
        assert await migrate(log.dsn, channels) == []
        there = PostgresLog(log.dsn)
        for cursor in (seen, newer):
            with pytest.raises(CursorOfOtherDatabase):
                await there.replay(cursor, ["thing_update"])
        start = (await there.position()).cursor
        await insert(log.dsn, 3)
        assert await payloads(there, start) == ['{"type":"Thing","id":3}']
        await there.close()
        await admin.execute(f'drop database "{name}_old" with (force)')


@pytest.mark.parametrize("options", [(), ("--schema-only",), ("--schema-only", "--no-comments")])
async def test_a_copy_beside_the_original_works_after_migrate(
    log: AppendablePostgresLog, options: tuple[str, ...]
) -> None:
    await insert(log.dsn, 1)
    seen, copy = await cursor_now(log.dsn), f"{name_of(log.dsn)}_copy"
    async with connected(named(log.dsn, "postgres")) as admin:
        await admin.execute(f'create database "{copy}"')
    there = named(log.dsn, copy)
    assert restored(there, dumped(log.dsn, *options)) == ""
    if options:
        unusable = PostgresLog(there)
        with pytest.raises(LogUnavailable, match="run `flowcraft migrate`"):
            await unusable.position()
        await unusable.close()
    done = await migrate(there, channels)
    assert [line for line in done if "completed a copy" in line] == (done[:1] if options else [])
    assert await migrate(there, channels) == []
    other = PostgresLog(there)
    with pytest.raises(CursorOfOtherDatabase):
        await other.replay(seen, ["thing_update"])
    start = (await other.position()).cursor
    await insert(there, 7)
    assert await payloads(other, start) == ['{"type":"Thing","id":7}']
    await other.close()
    async with connected(there) as connection:
        await connection.execute("select flowcraft.broadcast_ephemeral('typing_update', '{}')")
    async with connected(named(log.dsn, "postgres")) as admin:
        await admin.execute(f'drop database "{copy}" with (force)')


@pytest.mark.parametrize("by", ["migrate", "script"])
async def test_rows_that_were_restored_without_their_schema_are_not_taken_for_events_of_this_log(
    log: AppendablePostgresLog, by: str
) -> None:
    await insert(log.dsn, 1, 2)
    # The rows of a system whose transactions are far ahead.
    sql = re.sub(
        r"setval\('flowcraft.event_floor', \d+",
        "setval('flowcraft.event_floor', 9000000000",
        dumped(log.dsn, "--data-only"),
    )
    copy = f"{name_of(log.dsn)}_copy"
    there = named(log.dsn, copy)
    async with connected(named(log.dsn, "postgres")) as admin:
        await admin.execute(f'create database "{copy}"')
    async with connected(there) as connection:
        await connection.execute("create table thing (id integer)")
        await migrate(connection, channels)
        before = Cursor.parse(await connection.fetchval("select flowcraft.cursor()"))
    restored(there, sql)
    other = PostgresLog(there)
    with pytest.raises(LogUnavailable, match="which this database has not had"):
        await other.position()
    if by == "migrate":
        (done,) = await migrate(there, channels)
        assert "completed a copy" in done
    else:
        assert restored(there, migration_sql(channels)) == ""
    with pytest.raises(CursorRewound):
        await other.replay(before, ["thing_update"])
    start = (await other.position()).cursor
    await insert(there, 7)
    assert await payloads(other, start) == ['{"type":"Thing","id":7}']
    await other.close()
    async with connected(named(log.dsn, "postgres")) as admin:
        await admin.execute(f'drop database "{copy}" with (force)')


async def test_a_purge_and_a_trim_leave_each_cursor_its_proof(log: AppendablePostgresLog) -> None:
    start = (await log.position()).cursor
    await insert(log.dsn, 1)
    first = await cursor_now(log.dsn)
    await insert(log.dsn, 2)
    second = await cursor_now(log.dsn)
    async with connected(log.dsn) as connection:
        await connection.execute("select flowcraft.purge('thing_update')")
        assert await payloads(log, first) == []
        assert await payloads(log, second) == []
        await insert(log.dsn, 3)
        assert await payloads(log, second) == ['{"type":"Thing","id":3}']
        await connection.execute("select flowcraft.purge(null)")
        last = await cursor_now(log.dsn)
        assert last.marks
        assert await payloads(log, last) == []
        await insert(log.dsn, 4)
        assert await payloads(log, last) == ['{"type":"Thing","id":4}']
        assert await connection.fetchval("select count(*) from flowcraft.kept") == 1
    assert start.snapshot.xmax <= first.snapshot.xmax


async def test_a_cursor_of_a_transaction_that_still_runs_is_no_lost_one(log: AppendablePostgresLog) -> None:
    running = await log.begin()
    await running.broadcast("thing_update", "1")
    later = await log.begin()
    await later.broadcast("thing_update", "2")
    cursor = Cursor.parse(await running.connection.fetchval("select flowcraft.cursor()"))
    await later.commit()
    await log.replay(cursor, ["thing_update"])
    await running.commit()
    assert await payloads(log, cursor) == ["2"]


async def test_a_transaction_that_was_rolled_back_after_its_cursor_was_handed_out_is_lost(
    log: AppendablePostgresLog,
) -> None:
    transaction = await log.begin()
    await transaction.broadcast("thing_update", "1")
    cursor = Cursor.parse(await transaction.connection.fetchval("select flowcraft.cursor()"))
    await transaction.rollback()
    await insert(log.dsn, 1, 2)
    with pytest.raises(CursorRewound):
        await log.replay(cursor, ["thing_update"])


async def test_a_cursor_behind_many_transactions_is_short_in_sql_too(log: AppendablePostgresLog) -> None:
    async with connected(log.dsn) as reader, connected(log.dsn) as writer:
        await reader.execute("begin isolation level repeatable read; select 1 from thing")
        await writer.execute(
            "do $$ begin for n in 1..5000 loop perform pg_current_xact_id(); commit; end loop; end $$"
        )
        await reader.execute("select flowcraft.broadcast('thing_update', '1')")
        text = await reader.fetchval("select flowcraft.cursor()")
        assert len(text) < 80
        assert len(Cursor.parse(text).snapshot.xip) >= 5_000
        await reader.execute("commit")
        await insert(log.dsn, 1)
        assert await payloads(log, Cursor.parse(text)) == ['{"type":"Thing","id":1}']


async def test_files_put_back_while_no_server_ran_are_noticed_by_each_cursor_beyond_them(
    tmp_path: Path,
) -> None:
    data, snapshot = tmp_path / "data", tmp_path / "snapshot"
    with EmbeddedPostgres.start(data) as server:
        dsn = server.dsn
        async with connected(dsn) as connection:
            await connection.execute("create table thing (id integer)")
        await migrate(dsn, channels)
        await insert(dsn, 1)
        before = await cursor_now(dsn)
    shutil.copytree(data, snapshot)
    with EmbeddedPostgres.start(data):
        await insert(dsn, 2, 3)
        beyond = await cursor_now(dsn)
    shutil.rmtree(data)
    shutil.copytree(snapshot, data)
    with EmbeddedPostgres.start(data):
        # As many transactions as were lost, and more, of the same shape: by numbers alone nothing is amiss.
        await insert(dsn, 2, 3, 4)
        log = PostgresLog(dsn)
        with pytest.raises(CursorRewound):
            await log.replay(beyond, ["thing_update"])
        assert await payloads(log, before) == [f'{{"type":"Thing","id":{n}}}' for n in (2, 3, 4)]
        await log.close()
