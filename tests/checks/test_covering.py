"""Columns whose values would be skipped are found before a row has one."""

from __future__ import annotations

from typing import Literal

from flowcraft.adapters.postgres.inspection import inspect
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.channels import Channels, Table
from flowcraft.checking.facts import Facts
from flowcraft.checking.findings import findings
from flowcraft.checking.rules import DATABASE
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
