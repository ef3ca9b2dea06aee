"""Pages that read a state and apply what the trigger sends have exactly the rows of the table."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import asyncpg
import msgspec
import pytest

from flowcraft.adapters.postgres.inspection import function_name
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.adapters.postgres.triggers import table_sources
from flowcraft.channels import Channels
from tests.support.task_tables import NESTED, TABLES, Task, statement

if TYPE_CHECKING:
    from tests.support.postgres import Plain


WHERE = "title is null or title <> 't3'"


def declared(key: tuple[str, ...] = ("id",), where: str | None = WHERE) -> Channels:
    channels = Channels()
    channels.rows("task_rows", Task, table="tasks", key=key, where=where)
    channels.rows("team_rows.{team}", Task, table="tasks", key=key, where=where, params={"team": int})
    return channels


async def state(connection: Plain, channels: Channels, channel: str) -> list[dict[str, Any]]:
    prefix, _, value = channel.partition(".")
    (source,) = [source for source in table_sources(channels) if source.prefix == prefix]
    head, *rows = await connection.fetch(
        "select kind, content from flowcraft.rows($1, $2, 1000, 1000000)",
        function_name(source),
        value or None,
    )
    assert head["kind"] == b"c"
    assert msgspec.json.decode(head["content"])["rows"] == len(rows)
    assert {row["kind"] for row in rows} <= {b"e"}
    return [msgspec.json.decode(row["content"]) for row in rows]


class Pages:
    """What pages of all channels have after each record; a reset has them read their state."""

    def __init__(self, key: tuple[str, ...]) -> None:
        self.key = key
        self.rows: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
        self.resets: list[str] = []

    def apply(self, kind: bytes, channel: str, payload: dict[str, Any]) -> None:
        if kind == b"r":
            self.resets.append(channel)
            return
        rows = self.rows.setdefault(channel, {})
        key = tuple(payload[name] for name in self.key)
        if kind == b"e":
            rows[key] = payload
        else:
            assert (kind, list(payload)) == (b"g", list(self.key))
            rows.pop(key, None)

    def shown(self) -> dict[str, list[dict[str, Any]]]:
        return {c: [rows[key] for key in sorted(rows)] for c, rows in sorted(self.rows.items()) if rows}


KEYS = {"a key of two columns": ("part", "id"), "partitions": ("id", "part")}


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("table", "nested"),
    [
        *(("a plain table", nested) for nested in NESTED),
        *((table, "a statement trigger that updates") for table in TABLES if table != "a plain table"),
        *((table, "a trigger that inserts again") for table in TABLES if table != "a plain table"),
    ],
)
async def test_pages_have_the_rows_that_are_shown_after_every_statement(
    connection: Plain, table: str, nested: str
) -> None:
    chance, key = random.Random(f"rows {table} {nested}"), KEYS.get(table, ("id",))
    channels = declared(key)
    await connection.execute(f"{TABLES[table]}; {NESTED[nested]}")
    await migrate(connection, channels)
    pages, done = Pages(key), 0
    for _ in range(40):
        sql = statement(chance, TABLES[table])
        try:
            await connection.execute(sql)
        except asyncpg.UniqueViolationError:  # of the statement itself, which is rolled back
            await connection.execute("rollback")
        rows = await connection.fetch(
            "select id, kind, channel, payload from flowcraft.event where id > $1 order by id", done
        )
        for row in rows:
            done = row["id"]
            pages.apply(row["kind"], row["channel"], msgspec.json.decode(row["payload"]))
        now: dict[str, list[dict[str, Any]]] = {}
        found = await connection.fetch(
            f"select id, part, team, title from tasks where {WHERE} order by {', '.join(key)}"
        )
        for shown in [{"type": "Task", **dict(row)} for row in found]:
            now.setdefault("task_rows", []).append(shown)
            if shown["team"] is not None:
                now.setdefault(f"team_rows.{shown['team']}", []).append(shown)
        assert pages.shown() == dict(sorted(now.items())), sql
        for channel in ("task_rows", "team_rows.1", "team_rows.2", "team_rows.3"):
            read = await state(connection, channels, channel)
            assert sorted(read, key=lambda row: tuple(row[name] for name in key)) == now.get(channel, [])
