"""Partitions and children that come and go after the migration."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from flowcraft.adapters.postgres.schema import migrate
from flowcraft.channels import Channels
from flowcraft.declarations import Table
from flowcraft.errors import DeclarationError
from flowcraft.events import Event
from tests.support.postgres import connected

if TYPE_CHECKING:
    from tests.support.postgres import Plain


class Task(Event):
    id: int
    team: int | None


RANGE = """create table tasks (id int primary key, team int) partition by range (id);
create table low partition of tasks for values from (0) to (10)"""
CHILD = """create table tasks (id int primary key, team int);
create table low (primary key (id)) inherits (tasks)"""
LEVELS = """create table high partition of tasks for values from (10) to (20) partition by range (id);
create table higher partition of high for values from (10) to (15)"""
LOOSE = "create table loose (id int primary key, team int); insert into loose values (11, 1);"
TOP = """create table top (id int primary key, team int) partition by range (id);
create table loose partition of top for values from (10) to (15); insert into loose values (11, 1);"""
HIGH = "for values from (10) to (20)"
# The tables, how a new part comes, and how one with a row comes and goes.
PARENTS = {
    "partitions": (
        RANGE,
        f"create table high partition of tasks {HIGH}",
        f"{LOOSE} alter table tasks attach partition loose {HIGH}",
        "alter table tasks detach partition loose",
    ),
    "children": (
        CHILD,
        "create table high () inherits (tasks)",
        f"{LOOSE} alter table loose inherit tasks",
        "alter table loose no inherit tasks",
    ),
    "levels": (
        RANGE,
        LEVELS,
        f"{TOP} alter table tasks attach partition top {HIGH}",
        "alter table tasks detach partition top",
    ),
}
RESETS = [("r", "task_update", "redeclared"), ("r", "teams.*", "redeclared")]


def declared() -> Channels:
    channels = Channels()
    channels.declare("task_update", Task, source=Table("tasks"))
    channels.declare("teams.{team}", Task, params={"team": int}, source=Table("tasks"))
    return channels


async def records(connection: Plain) -> list[tuple[str, str, object]]:
    """Return the kind, the channel and the id or the reason of each record, and remove them."""
    rows = await connection.fetch("select kind, channel, payload from flowcraft.event order by channel, id")
    await connection.execute("truncate flowcraft.event")
    found = [(row["kind"].decode(), row["channel"], json.loads(row["payload"])) for row in rows]
    return [(kind, channel, payload.get("id", payload.get("reason"))) for kind, channel, payload in found]


@pytest.mark.parametrize("kind", PARENTS)
async def test_a_new_partition_is_written_directly(connection: Plain, kind: str) -> None:
    parent, create, *_ = PARENTS[kind]
    leaf = "higher" if kind == "levels" else "high"
    await connection.execute(parent)
    await migrate(connection, declared())
    await connection.execute("set standard_conforming_strings = off")
    await connection.execute(create)
    assert await records(connection) == []
    await connection.execute(f"insert into {leaf} values (11, 1); update {leaf} set team = null")
    sent = [("e", "task_update", 11)] * 2 + [("e", "teams.1", 11)]
    gone = [("g", "teams.1", 11)]
    assert await records(connection) == (sent if kind == "children" else sent + gone)
    await connection.execute(f"set session_replication_role = replica; insert into {leaf} values (12, 2)")
    await connection.execute("reset session_replication_role")
    assert await records(connection) == [("e", "task_update", 12), ("e", "teams.2", 12)]
    assert await migrate(connection, declared()) == []
    await connection.execute("drop table high")
    assert await records(connection) == RESETS


@pytest.mark.parametrize("kind", PARENTS)
async def test_rows_that_come_and_go_with_their_table_are_a_reset(connection: Plain, kind: str) -> None:
    parent, _, attach, detach = PARENTS[kind]
    await connection.execute(parent)
    await migrate(connection, declared())
    await connection.execute(attach)
    assert await records(connection) == RESETS
    await connection.execute("update loose set team = 2")
    assert [one[0] for one in await records(connection) if one[1] != "teams.1"] == ["e", "e"]
    assert await migrate(connection, declared()) == []
    await connection.execute(detach)
    assert await records(connection) == RESETS
    await connection.execute("update loose set team = 3; delete from loose; truncate loose")
    assert await records(connection) == []
    assert await migrate(connection, declared()) == []


async def test_other_tables_and_tables_of_no_rows_are_no_reset(connection: Plain) -> None:
    await connection.execute(RANGE)
    await migrate(connection, declared())
    await connection.execute(
        "create table other (id int) partition by list (id); create table one partition of other default;"
        "create temporary table passing (id int); drop table other; alter table tasks add note text;"
        "create table empty (like tasks including all);"
        "alter table tasks attach partition empty for values from (20) to (30);"
        "alter table tasks detach partition empty"
    )
    assert await records(connection) == []
    assert await connection.fetchval("select count(*) from pg_trigger where tgrelid = 'empty'::regclass") == 0
    await connection.execute("drop schema flowcraft cascade")
    assert await connection.fetchval("select count(*) from pg_event_trigger") == 0


async def test_who_is_no_superuser_has_no_event_triggers_and_a_partition_that_left_sends_nothing(
    connection: Plain, database: str
) -> None:
    name = await connection.fetchval("select current_database()")
    owner = f"owner_of_{name}"
    await connection.execute(f"create role {owner} login; alter database {name} owner to {owner}")
    try:
        async with connected(database.replace("//postgres@", f"//{owner}@")) as own:
            await own.execute(f"create schema {owner}; set search_path to {owner}; {RANGE}")
            await migrate(own, declared())
            assert await own.fetchval("select count(*) from pg_event_trigger") == 0
            await own.execute("insert into low values (1, 1); alter table tasks detach partition low")
            await records(connection)
            await own.execute("insert into low values (2, 2); delete from low; truncate low")
            assert await records(connection) == []
            await own.execute(f"{LOOSE} alter table tasks attach partition loose {HIGH}")
            assert len(await migrate(own, declared())) == 2
            assert await records(connection) == RESETS  # nothing saw when it came
    finally:
        await connection.execute(
            f"drop owned by {owner} cascade; alter database {name} owner to current_user; drop role {owner}"
        )


@pytest.mark.parametrize("kind", ["partitions", "children"])
async def test_a_foreign_part_is_refused_before_a_write_fails(connection: Plain, kind: str) -> None:
    # A partitioned table with a foreign part has no unique index.
    plain = kind == "partitions"
    await connection.execute(RANGE.replace(" primary key", "") if plain else CHILD)
    part = f"partition of tasks {HIGH}" if plain else "() inherits (tasks)"
    foreign = f"create foreign table far {part} server nowhere"
    await connection.execute(
        "create foreign data wrapper none; create server nowhere foreign data wrapper none"
    )
    await connection.execute(foreign)
    with pytest.raises(DeclarationError, match=r"public.far is a foreign table and a part of public.tasks"):
        await migrate(connection, declared())
    await connection.execute("drop foreign table far")
    await migrate(connection, declared())
    warnings: list[str] = []
    connection.add_log_listener(lambda _, message: warnings.append(str(message.message)))
    await connection.execute(foreign)
    await connection.execute("select 1")
    assert [one.partition(" through ")[0] for one in warnings] == [
        "flowcraft: writes to the foreign table public.far"
    ]


async def test_the_owner_of_a_table_adds_partitions_though_another_role_migrated(
    connection: Plain, database: str
) -> None:
    name = await connection.fetchval("select current_database()")
    owner = f"owner_of_{name}"
    await connection.execute(
        f"create role {owner} login; grant create on schema public to {owner}; {RANGE};"
        f"alter table tasks owner to {owner}"
    )
    await migrate(connection, declared())
    try:
        async with connected(database.replace("//postgres@", f"//{owner}@")) as own:
            await own.execute(f"begin; {LOOSE} alter table tasks attach partition loose {HIGH}; rollback")
            assert await records(connection) == []
            await own.execute(f"{LOOSE} alter table tasks attach partition loose {HIGH}")
            assert await records(connection) == RESETS
            await own.execute("insert into loose values (12, 1); insert into tasks values (13, null)")
            await connection.execute("set session_replication_role = replica; insert into loose values (14)")
            await connection.execute("insert into tasks values (15); reset session_replication_role")
            assert [one[2] for one in await records(connection)] == [12, 13, 14, 15, 12]
            assert await migrate(connection, declared()) == []
            await own.execute("drop table loose")
            assert await records(connection) == RESETS
    finally:
        await connection.execute(f"reassign owned by {owner} to current_user; drop owned by {owner}")
        await connection.execute(f"drop role {owner}")
