"""Rights to rows end in commit order, also while a state is read; rows that do not fit are not shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
import pytest

from flowcraft.adapters.memory import MemoryLog, MemoryWakeups
from flowcraft.channels import Channels
from flowcraft.core.withdrawals import RESERVED, Withdrawal, encode_withdrawal
from flowcraft.declarations import Table
from flowcraft.events import Event
from flowcraft.records import Kind, Limit, TableRows
from flowcraft.runtime.clock import SystemClock
from flowcraft.runtime.node import Node
from flowcraft.settings import Settings
from flowcraft.testing.inbox import Inbox
from flowcraft.testing.realtime import DatabaseRealtime
from flowcraft.viewers import Viewer
from tests.support.postgres import connected

SECONDS = 20


class Task(Event):
    id: int
    team: int
    points: Annotated[int, msgspec.Meta(ge=0)] = 0


members = {"ada"}
channels = Channels()
task_rows = channels.rows("task_rows.{team}", Task, table="tasks", key="id", params={"team": int})


@task_rows.guard
def is_member(viewer: Viewer, team: int) -> bool:
    return viewer.subject in members


class Doorkeeper:
    required = False

    async def authenticate(self, token: str) -> Viewer:
        return Viewer(token)


class SlowRows:
    """Rows whose read begins, and ends when a test lets it."""

    def __init__(self, log: MemoryLog) -> None:
        self.log = log
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.reads = 0

    async def read(self, channel: str, limit: Limit) -> TableRows:
        self.reads += 1
        self.begun.set()
        await self.go_on.wait()
        return TableRows(self.log.position_now().cursor, ('{"type":"Task","id":1,"team":7,"points":1}',))


@pytest.mark.parametrize("ask", [True, False], ids=["asked again", "revoked"])
async def test_a_state_that_was_read_across_a_withdrawal_is_not_sent(ask: bool) -> None:
    """The guard said yes, the right ended, and the rows are of after that: the client has to ask again."""
    log = MemoryLog()
    rows = SlowRows(log)
    wakeups = MemoryWakeups(log)
    node = Node(
        channels, log, wakeups, rows=rows, settings=Settings(), authorizer=Doorkeeper(), clock=SystemClock()
    )
    node.start()
    try:
        async with asyncio.timeout(SECONDS):
            await node.until_accepting()
            inbox = Inbox()
            gateway = node.connect(inbox)
            gateway.received('{"auth":"ada"}')
            gateway.received('{"subscribe":["task_rows.7"],"rows":true,"ref":1}')
            await rows.begun.wait()
            log.broadcast(RESERVED, encode_withdrawal(Withdrawal("ada", None, ask)), kind=Kind.WITHDRAWAL)
            while inbox.closed is None and "forbidden" not in (inbox.answer or ""):
                await inbox.news()
            rows.go_on.set()
            # The answers of the read have had their turn once another read of the channel is answered.
            other = Inbox()
            second = node.connect(other)
            second.received('{"auth":"ada"}')
            second.received('{"subscribe":["task_rows.7"],"rows":true,"ref":1}')
            while other.answer is None:
                await other.news()
        assert inbox.answer != "subscribed"
        assert inbox.received == []
    finally:
        await node.stop()
        wakeups.close()


@pytest.fixture
async def realtime(database: str) -> AsyncIterator[DatabaseRealtime]:
    tables = "create table tasks (id int primary key, team int, points int not null default 0);"
    more = "create table members (person text, team int); insert into members values ('ada', 7)"
    async with DatabaseRealtime(channels, database, tables=f"{tables} {more}") as realtime:
        yield realtime


async def test_a_row_that_does_not_fit_its_type_is_not_shown_until_it_does(
    realtime: DatabaseRealtime,
) -> None:
    await realtime.prepare()
    async with connected(realtime.dsn) as connection:
        await connection.execute("insert into tasks values (1, 7, 1), (2, 7, -1)")
        page = await realtime.as_viewer("ada").rows(task_rows(7))
        assert [row.id for row in page.rows] == [1]
        await connection.execute("update tasks set points = -points")
        await page.expect_rows([Task(id=2, team=7, points=1)])
        await connection.execute("update tasks set points = abs(points)")
        await page.expect_rows([Task(id=1, team=7, points=1), Task(id=2, team=7, points=1)])
        assert page.states == 1


async def test_who_is_removed_sees_nothing_that_commits_later(database: str) -> None:
    own = Channels()
    rows = own.rows("task_rows.{team}", Task, table="tasks", key="id", params={"team": int})
    allowed = {7}

    @rows.guard(depends_on=Table("members", columns={"person": "person", "team": "team"}))
    def is_in(viewer: Viewer, team: int) -> bool:
        return team in allowed

    tables = "create table tasks (id int primary key, team int, points int not null default 0);"
    more = "create table members (person text, team int); insert into members values ('ada', 7)"
    async with DatabaseRealtime(own, database, tables=f"{tables} {more}") as realtime:
        page = await realtime.as_viewer("ada").rows(rows(7))
        async with connected(database) as connection:
            await connection.execute("insert into tasks values (1, 7)")
            await page.expect_rows([Task(id=1, team=7)])
            allowed.clear()
            async with connection.transaction():
                await connection.execute("delete from members")
                await connection.execute("insert into tasks values (2, 7)")
            await page.settle()
        assert page.rows == [Task(id=1, team=7)]
