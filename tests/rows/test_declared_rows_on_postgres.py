"""What `migrate` refuses of a channel of rows, what it takes, and what checks and migrations know of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import pytest

from flowcraft.adapters.postgres.inspection import function_name, inspect
from flowcraft.adapters.postgres.schema import migrate, migration_sql
from flowcraft.adapters.postgres.source_snapshots import frozen, thawed
from flowcraft.adapters.postgres.table_rows import PostgresRows
from flowcraft.adapters.postgres.triggers import table_sources
from flowcraft.channels import Channels
from flowcraft.errors import DeclarationError, RowsLimitExceeded, RowsUnreadable
from flowcraft.events import Event
from flowcraft.records import Limit
from tests.support.postgres import connected

if TYPE_CHECKING:
    from tests.support.postgres import Plain

BARE = "create table tasks (id int, team text, title text"
TABLE = "create table tasks (id int primary key, team text, title text, done bool, noise int, at timestamptz)"
RECORDS = "select kind, channel, payload from flowcraft.event where payload !~ 'redeclared' order by id"
MOST = Limit(1000, 10**6)


class Task(Event):
    id: int
    team: str | None = None
    title: str | None = None


class Color(Enum):
    RED = "red"
    BLUE = "blue"


def declared(key: str | Sequence[str] = "id", where: str | None = None, **more: Any) -> Channels:
    channels = Channels()
    name = "task_rows.{team}" if "params" in more else "task_rows"
    channels.rows(name, more.pop("row", Task), table="tasks", key=key, where=where, **more)
    return channels


@pytest.mark.parametrize(
    ("table", "key", "says"),
    [
        (
            "create table tasks (id int, team text, title text)",
            "id",
            "no unique index over",
        ),
        ("create table tasks (id int primary key deferrable, team text, title text)", "id", "is deferrable"),
        ("create table tasks (id int unique, team text, title text)", "id", "may be null"),
        (
            """create table tasks (id int not null, team text, title text);
            create unique index on tasks (id) where team is not null""",
            "id",
            "is partial",
        ),
        (
            "create table tasks (id int, team text, title text, primary key (id, team))",
            "id",
            "over exactly these",
        ),
        (TABLE, ("id", "team"), "over exactly these"),
        (f"{TABLE}; create table more () inherits (tasks)", "id", "has inheritance children"),
        (
            "create table tasks (id int, team text, title text, unique (id, team))",
            ("team", "id"),
            "may be null",
        ),
        ("create view tasks as select 1 as id, '' as team, '' as title", "id", "is not a table"),
    ],
)
async def test_a_key_that_is_none_is_refused(connection: Plain, table: str, key: Any, says: str) -> None:
    await connection.execute(table)
    with pytest.raises(DeclarationError, match=f"channel task_rows: .*{says}"):
        await migrate(connection, declared(key))
    assert await connection.fetchval("select to_regnamespace('flowcraft')") is None


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("at > now()", "immutable"),
        ("random() < 0.5", "immutable"),
        ("id in (select 1)", "subquery"),
        ("count(*) > 1", "aggregate"),
        ("missing", "does not exist"),
        ("tasks.done", "invalid reference|missing FROM-clause"),
        ("title", "boolean"),
        ("done) or (true", None),
        ("done --", None),
        ("not done and", "syntax error"),
        ("at > '2020-01-01'", None),
    ],
)
async def test_a_condition_that_is_not_immutable_is_refused(
    connection: Plain, where: str, says: str | None
) -> None:
    await connection.execute(TABLE)
    if says is None:
        await migrate(connection, declared(where=where))
        return
    with pytest.raises(DeclarationError, match=f"channel task_rows: where='.*(?:{says})"):
        await migrate(connection, declared(where=where))


@pytest.mark.parametrize("type_", ["numeric", "float8", "bpchar(3)", "jsonb", "text[]", "date", "inet"])
async def test_a_parameter_whose_text_is_not_its_value_is_refused(connection: Plain, type_: str) -> None:
    await connection.execute(f"create table tasks (id int primary key, team {type_}, title text)")
    with pytest.raises(DeclarationError, match="is no integer, uuid, enum or text of a deterministic"):
        await migrate(connection, declared(params={"team": str}))


class OfNumber(Event):
    id: int
    team: int


class OfId(Event):
    id: int
    team: UUID


class OfColor(Event):
    id: int
    team: Color


ONE = "0d5ef1a2-0000-4000-8000-000000000001"


@pytest.mark.parametrize(
    ("type_", "row", "parameter", "value", "others"),
    [
        ("int2", OfNumber, int, "7", ["8", "99999", "-1", "9223372036854775807"]),
        ("int4", OfNumber, int, "7", ["99999999999"]),
        ("int8", OfNumber, int, "-7", ["7", "9999999999999999999"]),
        ("uuid", OfId, UUID, ONE, [ONE.replace("1", "2")]),
        ("text", Task, str, "ada", ["ADA", "Ada", "adaa"]),
        ("varchar(9)", Task, str, "ada", ["ADA"]),
        ('text collate "C"', Task, str, "ada", ["ADA"]),
        ("color", OfColor, str, "red", ["green", "RED"]),
        ("shade", OfColor, str, "red", ["green"]),
    ],
)
async def test_the_rows_of_a_channel_are_those_with_its_value(
    connection: Plain,
    database: str,
    type_: str,
    row: type[Event],
    parameter: type,
    value: str,
    others: list[str],
) -> None:
    await connection.execute(f"""
        create type color as enum ('red', 'blue'); create domain shade as color;
        create table tasks (id int primary key, team {type_}, title text);
        insert into tasks (id, team) values (1, '{value}'), (2, null)
    """)
    channels = declared(row=row, params={"team": parameter})
    await migrate(connection, channels)
    rows = PostgresRows(database, channels)
    try:
        (one,) = (await rows.read(f"task_rows.{value}", MOST)).rows
        assert msgspec.json.decode(one)["team"] == (int(value) if parameter is int else value)
        for other in others:
            assert (await rows.read(f"task_rows.{other}", MOST)).rows == ()
    finally:
        await rows.close()


class Seat(Event):
    room: str
    number: int
    guest: str | None


async def test_a_key_of_several_columns_names_the_row(connection: Plain) -> None:
    await connection.execute(
        "create table seats (number int, hall text, guest text, primary key (hall, number));"
        "insert into seats values (1, 'a', 'ada')"
    )
    channels = Channels()
    channels.rows("seat_rows", Seat, table="seats", key=("room", "number"), columns={"room": "hall"})
    await migrate(connection, channels)
    await connection.execute("update seats set hall = 'b'; delete from seats")
    records = await connection.fetch(
        "select kind, payload from flowcraft.event where kind <> 'r' order by id"
    )
    found = [(r["kind"], msgspec.json.decode(r["payload"])) for r in records]
    assert sorted(found[:2], key=str) == [
        (b"e", {"type": "Seat", "room": "b", "number": 1, "guest": "ada"}),
        (b"g", {"room": "a", "number": 1}),
    ]
    assert found[2:] == [(b"g", {"room": "b", "number": 1})]


async def test_a_row_that_cannot_be_sent_is_named_by_its_key(connection: Plain, database: str) -> None:
    await connection.execute(
        f"{TABLE}; insert into tasks values (1, null, 'x'), (2, null, repeat('x', 300000))"
    )
    channels = declared()
    await migrate(connection, channels)
    rows = PostgresRows(database, channels)
    try:
        found = await rows.read("task_rows", MOST)
        assert ([msgspec.json.decode(one)["id"] for one in found.rows], found.skipped) == ([1], 1)
    finally:
        await rows.close()
    await connection.execute("update tasks set title = repeat('y', 300000)")
    await connection.execute("insert into tasks values (3, null, repeat('z', 300000))")
    records = await connection.fetch(
        "select kind, payload from flowcraft.event where kind <> 'r' order by id"
    )
    assert [(r["kind"], msgspec.json.decode(r["payload"])) for r in records] == [
        (b"s", {"reason": "too_large", "key": {"id": n}}) for n in (1, 2, 3)
    ]


async def test_a_write_that_cannot_be_read_is_skipped_and_resets_the_pages(connection: Plain) -> None:
    await connection.execute(TABLE)
    await migrate(connection, declared(where="done"))
    await connection.execute("alter table tasks rename done to ready")
    await connection.execute("insert into tasks (id) values (1)")
    records = await connection.fetch(
        "select kind, channel, payload from flowcraft.event order by id offset 1"
    )
    assert [(r["kind"], r["channel"], msgspec.json.decode(r["payload"])["reason"]) for r in records] == [
        (b"s", "task_rows", "error"),
        (b"r", "task_rows", "unreadable"),
    ]


async def test_rows_that_cannot_be_read_say_why(connection: Plain, database: str) -> None:
    await connection.execute(f"{TABLE}; insert into tasks select n from generate_series(1, 20) as n")
    channels = declared(where="done is null")
    await migrate(connection, channels)
    rows = PostgresRows(database, channels)
    try:
        with pytest.raises(
            RowsLimitExceeded, match=r"more than 19 rows; .* where='done is null' and no params="
        ):
            await rows.read("task_rows", Limit(19, 10**6))
        with pytest.raises(RowsLimitExceeded, match="more than 30 bytes"):
            await rows.read("task_rows", Limit(20, 30))
        assert len((await rows.read("task_rows", Limit(20, 10**6))).rows) == 20
        await connection.execute("alter table tasks rename to other; create view tasks as table other")
        with pytest.raises(RowsUnreadable) as refused:
            await rows.read("task_rows", MOST)
        assert "another one now" in refused.value.reason or "not a table" in refused.value.reason
        await connection.execute("drop view tasks")
        with pytest.raises(RowsUnreadable):
            await rows.read("task_rows", MOST)
    finally:
        await rows.close()


async def test_a_type_that_changes_afterwards_is_still_read(connection: Plain, database: str) -> None:
    await connection.execute(f"{TABLE}; insert into tasks values (1, 'a', 'x')")
    channels = declared(params={"team": str})
    await migrate(connection, channels)
    await connection.execute("alter table tasks alter title type varchar(5), alter noise type text")
    rows = PostgresRows(database, channels)
    try:
        (one,) = (await rows.read("task_rows.a", MOST)).rows
        assert msgspec.json.decode(one)["title"] == "x"
    finally:
        await rows.close()


async def test_a_second_migration_changes_nothing_and_another_condition_resets(connection: Plain) -> None:
    await connection.execute(TABLE)
    assert any("created the triggers" in done for done in await migrate(connection, declared()))
    assert await migrate(connection, declared()) == []
    await migrate(connection, declared(where="done"))
    resets = await connection.fetch("select kind, channel, payload from flowcraft.event")
    assert [tuple(row) for row in resets] == [(b"r", "task_rows", '{"reason":"redeclared"}')] * 2
    await migrate(connection, Channels(), prune="all")
    left = await connection.fetch("select proname from pg_proc where proname like 'task\\_rows%'")
    assert left == []


async def test_a_script_for_psql_does_the_same(connection: Plain) -> None:
    await connection.execute(TABLE)
    await connection.execute(migration_sql(declared(where="not done")))
    assert await migrate(connection, declared(where="not done")) == []


async def test_a_state_function_that_is_gone_or_changed_is_found_and_made_again(
    connection: Plain, database: str
) -> None:
    await connection.execute(TABLE)
    channels = declared(params={"team": str})
    await migrate(connection, channels)
    (found,) = (await inspect(database, channels)).sources
    assert (found.same, found.without_key, found.without_index) == (True, None, "team")
    await connection.execute("create index on tasks (team)")
    name = function_name(table_sources(channels)[0])
    await connection.execute(f"drop function flowcraft.{name}_rows(text, bigint, bigint)")
    (found,) = (await inspect(database, channels)).sources
    assert (found.same, found.without_index) == (False, None)
    assert len(await migrate(connection, channels)) == 1
    assert await migrate(connection, channels) == []


def test_a_snapshot_in_a_migration_has_all_of_it() -> None:
    for channels in (declared(), declared(("id", "team"), "not done", params={"team": str})):
        (source,) = table_sources(channels)
        assert thawed(frozen(source)) == source


async def test_a_truncate_during_a_read_is_seen_by_both_or_by_none(connection: Plain, database: str) -> None:
    """The lock comes before the snapshot: otherwise the cursor could be older than the empty table."""
    await connection.execute(f"{TABLE}; insert into tasks values (1, 'a', 'x')")
    channels = declared()
    await migrate(connection, channels)
    rows = PostgresRows(database, channels)
    try:
        await rows.read("task_rows", MOST)
        async with connected(database) as other:
            transaction = other.transaction()
            await transaction.start()
            await other.execute("truncate tasks")
            xid = int(await other.fetchval("select pg_current_xact_id()::text::bigint"))
            reading = asyncio.create_task(rows.read("task_rows", MOST))
            waits = "select exists (select from pg_locks where not granted and relation = 'tasks'::regclass)"
            while not await connection.fetchval(waits):  # noqa: ASYNC110  # PostgreSQL has no event for it
                await asyncio.sleep(0)
            await transaction.commit()
            found = await reading
        assert found.rows == ()
        assert found.cursor.covers(xid)
    finally:
        await rows.close()


async def test_no_other_role_may_call_what_reads_the_rows(connection: Plain) -> None:
    await connection.execute(TABLE)
    channels = declared()
    await migrate(connection, channels)
    name = function_name(table_sources(channels)[0])
    rights = await connection.fetch(
        "select proname, has_function_privilege('public', oid, 'execute') as public from pg_proc "
        "where pronamespace = 'flowcraft'::regnamespace and proname = any ($1)",
        ["rows", f"{name}_rows"],
    )
    assert {row["proname"]: row["public"] for row in rights} == {"rows": False, f"{name}_rows": False}
