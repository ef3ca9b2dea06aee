"""Which rows a channel has does not depend on the settings of the session that writes them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from flowcraft.adapters.postgres.schema import migrate
from flowcraft.channels import Channels
from flowcraft.errors import DeclarationError
from flowcraft.events import Event
from tests.support.postgres import connected

if TYPE_CHECKING:
    from tests.support.postgres import Plain


class Task(Event):
    id: int
    title: str | None
    at: datetime | None


SETTINGS = {
    "datestyle": "'sql, dmy'",
    "timezone": "'Asia/Tokyo'",
    "intervalstyle": "sql_standard",
    "standard_conforming_strings": "off",
    "transform_null_equals": "on",
    "quote_all_identifiers": "on",
    "search_path": "''",
}
CONDITIONS = [
    "at < '02/03/2026 00:00'",
    r"title like 'a\_%'",
    "(title = null) is not null or id < 3",
    "at - '2026-01-01'::timestamptz < '-1 1:00:00'::interval * -1",
]
ROWS = """insert into public.tasks values (1, 'a_b', '2026-02-02 10:00+00'),
(2, 'axb', '2026-02-02 20:00+00'),
(3, null, '2026-02-15 00:00+00'), (4, 'a_', '2026-03-02 10:00+00'), (5, 'b', null),
(6, 'c', '2026-01-01 22:30+00'), (7, 'd', '2026-01-02 00:30+00')"""


@pytest.mark.parametrize("condition", CONDITIONS)
async def test_a_condition_means_the_same_in_every_session(database: str, condition: str) -> None:
    async with connected(database) as connection:
        await connection.execute("create table tasks (id int primary key, title text, at timestamptz)")
        channels = Channels()
        channels.rows("task_rows", Task, table="tasks", key="id", where=condition)
        await migrate(connection, channels)
        expected = await shown(connection)
    assert 0 < len(expected) < 7
    async with connected(database) as connection:  # another session, which has read no condition yet
        for name, value in SETTINGS.items():
            await connection.execute(f"set {name} = {value}")
        assert await shown(connection) == expected


async def shown(connection: Plain) -> list[int]:
    """Return the rows that the channel has of those that are inserted."""
    await connection.execute("truncate flowcraft.event")
    await connection.execute(ROWS)
    rows = await connection.fetch("select kind, payload from flowcraft.event order by id")
    await connection.execute("delete from public.tasks")
    assert {row["kind"] for row in rows} == {b"e"}, rows
    return sorted(json.loads(row["payload"])["id"] for row in rows)


async def test_a_condition_over_a_type_of_others_is_refused(database: str) -> None:
    async with connected(database) as connection:
        await connection.execute(
            "create extension citext; create table tasks (id int primary key, title citext, at timestamptz)"
        )
        channels = Channels()
        channels.rows("task_rows", Task, table="tasks", key="id", where="title is not null")
        with pytest.raises(DeclarationError, match=r"the column title has the type public\.citext, which"):
            await migrate(connection, channels)
