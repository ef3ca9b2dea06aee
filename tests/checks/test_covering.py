"""Columns whose values would be skipped are found before a row has one."""

from __future__ import annotations

from typing import Literal

from flowcraft.adapters.postgres.inspection import inspect
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.channels import Channels
from flowcraft.checking.facts import Facts
from flowcraft.checking.findings import findings
from flowcraft.checking.rules import DATABASE
from flowcraft.declarations import Table
from flowcraft.events import Event
from tests.support.postgres import connected


class Task(Event):
    id: int
    team: str
    state: Literal["open", "done"]


TABLE = "create type state as enum ('open', 'done', 'new'); create table tasks (id int primary key, %s)"
TEAM = "tasks.team to what can stand in a channel's name"
COLUMNS = {
    "team text not null, state text not null": [
        ("FC073", TEAM),
        ("FC074", "check (state in ('open', 'done'))"),
    ],
    "team text not null check (team ~ '^[a-z]{1,64}$'), state state not null": [
        ("FC074", "may be new, which")
    ],
    "team uuid not null, state text not null check (state in ('open', 'done'))": [],
    "team text not null check (team ~ '^[a-z]{1,64}$'), state text not null check (state in ('open', 'x'))": [
        ("FC074", "may be x, which Task.state does not list")
    ],
}


async def test_columns_whose_values_would_be_skipped_are_found(database: str) -> None:
    channels = Channels()
    channels.declare("teams.{team}", Task, params={"team": str}, source=Table("tasks"))
    async with connected(database) as connection:
        for columns, expected in COLUMNS.items():
            await connection.execute(TABLE % columns)
            await migrate(connection, channels)
            facts = Facts("app:channels", channels=channels, database=await inspect(database, channels))
            found = [(one.rule.id, one.sentence) for one in findings(facts, DATABASE)]
            assert [rule for rule, _ in found] == [rule for rule, _ in expected], columns
            assert all(part in sentence for (_, sentence), (_, part) in zip(found, expected, strict=True))
            await connection.execute("drop table tasks; drop type state")


async def test_triggers_of_a_guard_are_compared_and_a_table_that_does_not_fit_is_named(database: str) -> None:
    channels = Channels()
    teams = channels.declare("teams.{team}", Task, params={"team": str})
    members = Table("members", person="login", team="team")
    teams.guard(depends_on=members)(lambda _viewer, team: team == "a")
    async with connected(database) as connection:

        async def found() -> list[tuple[str, str]]:
            facts = Facts("app:channels", channels=channels, database=await inspect(database, channels))
            return [(one.rule.id, one.sentence) for one in findings(facts, DATABASE)]

        await migrate(connection, Channels())
        await connection.execute("create table members (login numeric, team text, seen timestamptz)")
        ((rule, sentence),) = await found()
        assert (rule, "whose column login is numeric: its text may differ" in sentence) == ("FC056", True)
        await connection.execute("alter table members alter login type text")
        ((rule, sentence),) = await found()
        assert (rule, "rights that a change of its rows ends go on; run" in sentence) == ("FC060", True)
        await migrate(connection, channels)
        assert await found() == []
        await connection.execute("alter table members disable trigger user")
        assert {rule for rule, _ in await found()} == {"FC062"}
        await connection.execute("alter table members enable trigger user, alter login type varchar(9)")
        assert "FC061" in {rule for rule, _ in await found()}


async def test_rows_that_are_looked_up_without_an_index_are_found(database: str) -> None:
    channels = Channels()
    channels.rows("task_rows.{team}", Task, table="tasks", key="id", params={"team": str})
    async with connected(database) as connection:
        await connection.execute(
            TABLE % "team text check (team ~ '^a$') not null, "
            "state text check (state in ('open', 'done')) not null"
        )
        await migrate(connection, channels)
        facts = Facts("app:channels", channels=channels, database=await inspect(database, channels))
        (found,) = findings(facts, DATABASE)
        assert (found.rule.id, "create one on public.tasks (team)" in found.sentence) == ("FC075", True)
        await connection.execute("create index on tasks (team)")
        facts = Facts("app:channels", channels=channels, database=await inspect(database, channels))
        assert list(findings(facts, DATABASE)) == []


async def test_roles_that_can_listen_to_the_events_of_a_channel_with_a_guard_are_named(database: str) -> None:
    """They travel in NOTIFY, which has no rights; those of channels in the log do not."""
    channels = Channels()
    for name, durable, guarded in (
        ("typing.{team}", False, True),
        ("cursors.{team}", False, False),
        ("teams.{team}", True, True),
    ):
        channel = channels.declare(name, Task, params={"team": str}, durable=durable)
        if guarded:
            channel.guard(lambda _viewer, team: team == "a")
    async with connected(database) as connection:
        await migrate(connection, channels)
        name = await connection.fetchval("select current_database()")
        stranger, server = f"stranger_of_{name}", f"server_of_{name}"
        await connection.execute(
            f"create role {stranger} login; create role {server} login; create role nobody_of_{name};"
            f"grant execute on function flowcraft.changes to {server}"
        )
        try:

            async def sentences() -> list[str]:
                facts = Facts("app:channels", channels=channels, database=await inspect(database, channels))
                return [one.sentence for one in findings(facts, DATABASE) if one.rule.id == "FC076"]

            (found,) = await sentences()
            assert found.startswith("typing.{team} has a guard, but its events travel in NOTIFY")
            assert stranger in found
            assert server not in found
            assert "nobody" not in found
            await connection.execute(f"revoke connect on database {name} from public")
            assert await sentences() == []
        finally:
            await connection.execute(
                f"drop owned by {server}; drop role {server}, {stranger}, nobody_of_{name};"
                f"grant connect on database {name} to public"
            )
