"""Tables that are dropped and created again, or swapped: pages have the rows of the one that is there."""

from __future__ import annotations

import pytest

from flowcraft.adapters.postgres.schema import migrate
from flowcraft.channels import Channels
from flowcraft.events import Event
from flowcraft.testing.realtime import DatabaseRealtime
from tests.support.postgres import connected

CREATE = """create table {0} (id int primary key, team_id int not null, title text not null);
create index on {0} (team_id)"""
TABLES = f"{CREATE.format('tasks')}; insert into tasks values (1, 7, 'one'), (2, 8, 'two')"
# As deploys and restores do it.
OTHERS = CREATE.format("others")
REPLACED = {
    "dropped and created": f"drop table tasks; {CREATE.format('tasks')}",
    "swapped": f"{OTHERS}; alter table tasks rename to former; alter table others rename to tasks",
    "swapped and dropped": f"{OTHERS}; drop table tasks; alter table others rename to tasks",
    "in another schema": (
        f"create schema former; alter table tasks set schema former; {CREATE.format('tasks')}"
    ),
}


class Task(Event):
    id: int
    team_id: int
    title: str


@pytest.mark.parametrize("sql", REPLACED.values(), ids=REPLACED)
async def test_pages_have_the_rows_of_the_table_that_is_there(database: str, sql: str) -> None:
    channels = Channels()
    task_rows = channels.rows("task_rows.{team_id}", Task, table="tasks", key="id", params={"team_id": int})
    async with DatabaseRealtime(channels, database, tables=TABLES) as realtime:
        page = await realtime.rows(task_rows(7))
        async with connected(realtime.dsn) as connection:
            await connection.execute(f"{sql}; insert into tasks values (1, 8, 'moved'), (3, 7, 'three')")
            await migrate(connection, channels)
            three = Task(id=3, team_id=7, title="three")
            await page.expect_rows([three])
            await connection.execute("insert into tasks values (4, 7, 'four')")
            four = Task(id=4, team_id=7, title="four")
            await page.expect_rows([three, four])
            assert (await realtime.rows(task_rows(7))).rows == [three, four]
            if "former" in sql and "drop" not in sql:
                name = "former.tasks" if "schema" in sql else "former"
                await connection.execute(f"insert into {name} values (5, 7, 'of before')")
                await connection.execute("delete from tasks where id = 4")
                await page.expect_rows([three])
