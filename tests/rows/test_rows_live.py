"""Rows through a whole server: what a page shows is what the table has, and how that is read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from flowcraft.adapters.postgres.schema import migrate
from flowcraft.channels import Channels
from flowcraft.events import Event
from flowcraft.testing.expectations import RowsMissing
from flowcraft.testing.realtime import DatabaseRealtime, InMemoryRealtime
from flowcraft.testing.subscription import SubscriptionRefused
from flowcraft.viewers import Viewer
from tests.support.postgres import connected

TABLES = """
create table tasks (
    id int primary key, team_id int not null, title text not null, archived bool not null default false);
create index on tasks (team_id);
insert into tasks values (1, 7, 'one'), (2, 7, 'two'), (3, 8, 'three');
insert into tasks values (4, 7, 'four', true);
"""


class Task(Event):
    id: int
    team_id: int
    title: str


channels = Channels()
task_rows = channels.rows(
    "task_rows.{team_id}", Task, table="tasks", key="id", params={"team_id": int}, where="not archived"
)
all_rows = channels.rows("all_rows", Task, table="tasks", key="id")
guarded_rows = channels.rows("guarded_rows.{team_id}", Task, table="tasks", key="id", params={"team_id": int})


@guarded_rows.guard
def may_see(viewer: Viewer, team_id: int) -> bool:
    return viewer.subject == f"of {team_id}"


@pytest.fixture
async def realtime(database: str) -> AsyncIterator[DatabaseRealtime]:
    async with DatabaseRealtime(channels, database, tables=TABLES) as realtime:
        yield realtime


ONE = Task(id=1, team_id=7, title="one")
TWO = Task(id=2, team_id=7, title="two")
THREE = Task(id=3, team_id=8, title="three")


async def test_a_page_has_the_rows_and_what_becomes_of_them(realtime: DatabaseRealtime) -> None:
    seven, eight = await realtime.rows(task_rows(7)), await realtime.rows(task_rows(8))
    everything = await realtime.rows(all_rows)
    assert (seven.rows, eight.rows, len(everything.rows)) == ([ONE, TWO], [THREE], 4)
    async with connected(realtime.dsn) as connection:
        await connection.execute("update tasks set team_id = 8 where id = 1")
        moved = Task(id=1, team_id=8, title="one")
        await eight.expect_rows([THREE, moved])
        await seven.expect_rows([TWO])
        await connection.execute("update tasks set archived = true where id = 2")
        await seven.expect_rows([])
        await connection.execute("update tasks set archived = false where id = 4")
        assert (await seven.expect_rows(lambda rows: len(rows) == 1))[0].title == "four"
        await connection.execute("delete from tasks where id = 3")
        await eight.expect_rows([moved])
        assert eight.get(1) == moved
        await connection.execute("truncate tasks")
        for page in (seven, eight, everything):
            await page.expect_rows([])
    assert (seven.states, eight.states) == (1, 1)


async def test_a_reset_is_one_replacement(realtime: DatabaseRealtime) -> None:
    seven = await realtime.rows(task_rows(7))
    async with connected(realtime.dsn) as connection, connection.transaction(isolation="repeatable_read"):
        await connection.execute("truncate tasks")
        await connection.execute("insert into tasks values (5, 7, 'five')")
    await seven.expect_rows([Task(id=5, team_id=7, title="five")])
    assert seven.states == 2


async def test_a_changed_declaration_replaces_the_rows(realtime: DatabaseRealtime) -> None:
    seven = await realtime.rows(task_rows(7))
    other = Channels()
    other.rows(
        "task_rows.{team_id}", Task, table="tasks", key="id", params={"team_id": int}, where="archived"
    )
    await migrate(realtime.dsn, other, prune=False)
    await seven.expect_rows([Task(id=4, team_id=7, title="four")])
    assert seven.states == 2


async def test_guards_decide_about_rows(realtime: DatabaseRealtime) -> None:
    page = await realtime.as_viewer("of 7").rows(guarded_rows(7))
    assert len(page.rows) == 3
    with pytest.raises(SubscriptionRefused, match="forbidden"):
        await realtime.as_viewer("of 8").rows(guarded_rows(7))
    with pytest.raises(SubscriptionRefused, match="forbidden"):
        await realtime.rows(guarded_rows(7))


async def test_a_parameter_without_rows_has_none(realtime: DatabaseRealtime) -> None:
    for team in (9, 99999999999, -1):
        assert (await realtime.rows(task_rows(team))).rows == []


async def test_everyone_who_asks_at_once_shares_one_read(realtime: DatabaseRealtime) -> None:
    node = await realtime._start()  # pyright: ignore[reportPrivateUsage]
    pages = await asyncio.gather(*[realtime.rows(task_rows(7)) for _ in range(100)])
    assert all(page.rows == [ONE, TWO] for page in pages)
    assert node.counts.state_reads == 1
    assert node.counts.states == 100


async def test_rows_that_are_not_as_expected_are_listed(realtime: DatabaseRealtime) -> None:
    page = await realtime.rows(task_rows(8))
    with pytest.raises(RowsMissing, match=r"missing:\n.*title='one'.*\nnot expected:\n.*three"):
        await page.expect_rows([ONE], timeout=0)


async def test_a_locked_table_is_an_error_and_harms_no_other_channel(realtime: DatabaseRealtime) -> None:
    async with connected(realtime.dsn) as connection, connection.transaction():
        await connection.execute("lock table tasks in access exclusive mode")
        with pytest.raises(SubscriptionRefused, match="rows_unreadable"):
            await realtime.rows(task_rows(7))
    assert (await realtime.rows(task_rows(7))).rows == [ONE, TWO]


async def test_in_memory_a_test_puts_the_rows() -> None:
    async with InMemoryRealtime(channels) as realtime:
        await realtime.put_row(task_rows(7), ONE)
        page = await realtime.rows(task_rows(7))
        assert page.rows == [ONE]
        await realtime.put_row(task_rows(7), TWO)
        await page.expect_rows([ONE, TWO])
        await realtime.broadcast_gone(task_rows(7), id=1)
        await page.expect_rows([TWO])
