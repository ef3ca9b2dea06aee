"""Tables whose values DDL computes again: no trigger fires, and clients load them again all the same."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from flowcraft.adapters.postgres.schema import migrate
from flowcraft.channels import Channels
from flowcraft.declarations import Table
from flowcraft.events import Event
from flowcraft.testing.realtime import DatabaseRealtime
from tests.support.postgres import connected

if TYPE_CHECKING:
    from tests.support.postgres import Plain

TABLES = """
create type mood as enum ('sad', 'glad');
create table tasks (
    id int primary key, team int not null, title text not null, mood mood not null default 'sad'
);
create index on tasks (team);
insert into tasks values (1, 7, 'one')
"""
RESETS = [("task_rows.*", "redeclared"), ("task_update", "redeclared")]
# DDL, and whether it computes values again: where it does not, nothing is sent.
BY_COMMAND = {
    "alter table tasks alter title type text using upper(title)": True,
    "alter table tasks alter title type varchar(20) using title || '!'": True,
    "alter table tasks add column drawn float8 default random()": True,
    "alter table tasks set unlogged": False,
    "alter table tasks add column note text default 'x'": False,
    "alter table tasks alter title set storage external": False,
    "alter table tasks rename to jobs": False,
    "vacuum full tasks": False,
    "cluster tasks using tasks_pkey": False,
    "create table other (a int); alter table other alter a type text": False,
}
BY_MIGRATION = {
    "alter table tasks alter title type text using upper(title)": True,
    "alter table tasks add column drawn float8 default random()": True,
    "alter type mood rename value 'sad' to 'blue'": True,
    "vacuum full tasks": True,
    "alter table tasks add column note text default 'x'": False,
    "alter table tasks alter title set storage external": False,
    "insert into tasks values (2, 7, 'two')": False,
}


class Task(Event):
    id: int
    team: int
    title: str


def declared(*, on: str = "task_update", title: str = "title") -> Channels:
    channels = Channels()
    channels.rows("task_rows.{team}", Task, table="tasks", key="id", params={"team": int})
    channels.declare(on, Task, source=Table("tasks", title=title))
    return channels


async def resets(connection: Plain) -> list[tuple[str, str]]:
    rows = await connection.fetch(
        "select channel, payload from flowcraft.event where kind = 'r' order by channel"
    )
    await connection.execute("truncate flowcraft.event")
    return [(row["channel"], json.loads(row["payload"])["reason"]) for row in rows]


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Plain]:
    async with connected(database) as connection:
        await connection.execute(TABLES)
        await migrate(connection, declared())
        await resets(connection)
        yield connection


async def without_event_trigger(connection: Plain) -> None:
    """Have what a role that is no superuser has."""
    await connection.execute("drop event trigger flowcraft_rewritten")


@pytest.mark.parametrize("ddl", BY_COMMAND)
async def test_a_command_that_computes_values_again_resets_the_channels_of_its_table(
    connection: Plain, ddl: str
) -> None:
    for command in ddl.split("; "):
        await connection.execute(command)
    assert await resets(connection) == (RESETS if BY_COMMAND[ddl] else [])


async def test_a_command_that_is_rolled_back_resets_nothing(connection: Plain) -> None:
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("alter table tasks alter title type text using upper(title)")
    await transaction.rollback()
    assert await resets(connection) == []


@pytest.mark.parametrize("ddl", BY_MIGRATION)
async def test_the_next_migration_resets_what_was_computed_again_before_it(
    connection: Plain, ddl: str
) -> None:
    await without_event_trigger(connection)
    await connection.execute(ddl)
    await resets(connection)
    await without_event_trigger_after_migration(connection, expected=BY_MIGRATION[ddl])
    assert await migrate(connection, declared()) == [], "once"


async def without_event_trigger_after_migration(connection: Plain, *, expected: bool) -> None:
    done = [line for line in await migrate(connection, declared()) if "event trigger" not in line]
    rewritten = "public.tasks was rewritten or emptied since the last migration; clients load it again"
    assert done == ([f"task_rows.{{team}}: {rewritten}", f"task_update: {rewritten}"] if expected else [])
    assert await resets(connection) == (RESETS if expected else [])


async def test_another_declaration_of_a_table_resets_its_channel(connection: Plain) -> None:
    await connection.execute("alter table tasks add column name text not null default 'x'")
    await migrate(connection, declared(title="name"))
    assert await resets(connection) == [("task_update", "redeclared")]
    await migrate(connection, declared(title="name"))
    assert await resets(connection) == []


async def test_a_page_has_the_values_that_a_command_computed(database: str) -> None:
    channels = Channels()
    task_rows = channels.rows("task_rows.{team}", Task, table="tasks", key="id", params={"team": int})
    async with DatabaseRealtime(channels, database, tables=TABLES) as realtime:
        page = await realtime.rows(task_rows(7))
        async with connected(realtime.dsn) as connection:
            await connection.execute("alter table tasks alter title type text using upper(title)")
        await page.expect_rows([Task(id=1, team=7, title="ONE")])
