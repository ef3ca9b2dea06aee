"""Pages that apply what a trigger sends have the rows of the table after every statement."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import asyncpg
import msgspec
import pytest

from flowcraft.adapters.postgres.schema import migrate
from flowcraft.channels import Channels
from flowcraft.declarations import Table
from flowcraft.events import Event
from tests.support.task_tables import NESTED, TABLES, Task, statement

if TYPE_CHECKING:
    from tests.support.postgres import Plain


def declared(table: str = "tasks") -> Channels:
    channels = Channels()
    channels.declare("task_update", Task, source=Table(table))
    channels.declare("teams.{team}", Task, params={"team": int}, source=Table(table))
    return channels


class Pages:
    """What pages of all channels have after each record."""

    def __init__(self, key: Sequence[str]) -> None:
        self.key = key
        self.rows: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}

    def apply(self, kind: bytes, channel: str, payload: dict[str, Any]) -> None:
        rows = self.rows.setdefault(channel, {})
        key = tuple(payload[name] for name in self.key)
        if kind == b"e":
            rows[key] = {name: value for name, value in payload.items() if name != "type"}
        else:
            assert (kind, list(payload)) == (b"g", list(self.key))
            rows.pop(key, None)

    def shown(self) -> dict[str, list[dict[str, Any]]]:
        return {
            channel: [rows[key] for key in sorted(rows)]
            for channel, rows in sorted(self.rows.items())
            if rows
        }


async def table_now(connection: Plain, key: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    rows = await connection.fetch(f"select id, part, team, title from tasks order by {', '.join(key)}")
    found: dict[str, list[dict[str, Any]]] = {}
    for row in map(dict, rows):
        found.setdefault("task_update", []).append(row)
        if row["team"] is not None:
            found.setdefault(f"teams.{row['team']}", []).append(row)
    return dict(sorted(found.items()))


KEYS = {"a key of two columns": ("part", "id"), "partitions": ("id", "part")}


@pytest.mark.parametrize(
    ("table", "nested"),
    [
        *(("a plain table", nested) for nested in NESTED),
        *((table, "a statement trigger that updates") for table in TABLES if table != "a plain table"),
        *((table, "a trigger that inserts again") for table in TABLES if table != "a plain table"),
    ],
)
async def test_pages_have_the_rows_of_the_table_after_every_statement(
    connection: Plain, table: str, nested: str
) -> None:
    chance, key = random.Random(f"{table} {nested}"), KEYS.get(table, ("id",))
    await connection.execute(f"{TABLES[table]}; {NESTED[nested]}")
    await migrate(connection, declared())
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
        assert pages.shown() == await table_now(connection, key), sql


class Thing(Event):
    id: int
    value: Any


# A type, a value and another one: `=` may be missing, or take them for equal.
PAIRS = [
    ("numeric", "1.0", "1.00"),
    ("float8", "'0'", "'-0'"),
    ("interval", "'1 month'", "'30 days'"),
    ("json", "'{\"a\": 1}'", "'{\"a\":1}'"),
    ("text collate blind", "'ada'", "'ADA'"),
    ("varchar collate blind", "'ada'", "'ADA'"),
    ("text", "'a'", "'b'"),
    ("text", "''", "null"),
    ("timestamptz", "'2026-02-01 00:00+00'", "'2026-02-01 00:00:00.000001+00'"),
    ("timestamptz", "'infinity'", "'-infinity'"),
    ("date", "'0044-03-15 BC'", "'0044-03-15'"),
    ("timestamp", "'2026-02-01'", "'2026-02-02'"),
    ("uuid", "'6ba7b810-9dad-11d1-80b4-00c04fd430c8'", "'6ba7b810-9dad-11d1-80b4-00c04fd430c9'"),
    ("bool", "true", "false"),
    ("int8", "1", "null"),
    ("int[]", "array[1]", "array[1, null]"),
    ("point", "'(0, 0)'", "'(0, 1e-9)'"),
    ("bytea", "'a'", "'b'"),
    ("char(3)", "'a'", "'b'"),
]


async def with_blind_collation(connection: Plain) -> None:
    try:
        await connection.execute(
            "create collation blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
        )
    except asyncpg.FeatureNotSupportedError:
        pytest.skip("this PostgreSQL has no ICU; another one of `make test-world` has it")


@pytest.mark.parametrize(("type_", "old", "new"), PAIRS, ids=[" ".join(pair) for pair in PAIRS])
@pytest.mark.parametrize("rows", [1, 2])
async def test_what_prints_differently_is_sent_and_what_is_the_same_is_not(
    connection: Plain, type_: str, old: str, new: str, rows: int
) -> None:
    if "blind" in type_:
        await with_blind_collation(connection)
    await connection.execute(f"create table things (id int primary key, noise int, value {type_})")
    channels = Channels()
    channels.declare("thing_update", Thing, source=Table("things"))
    await migrate(connection, channels)
    await connection.execute(f"insert into things select n, 0, {old} from generate_series(1, {rows}) as n")
    await connection.execute("truncate flowcraft.event")
    await connection.execute(f"update things set noise = noise + 1, value = {old}")
    assert await connection.fetchval("select count(*) from flowcraft.event") == 0
    await connection.execute(f"update things set value = {new}")
    assert await connection.fetchval("select count(*) from flowcraft.event") == rows
    await connection.execute(f"update things set value = {old} where id = 1")
    assert await connection.fetchval("select count(*) from flowcraft.event") == rows + 1


async def test_a_column_that_gets_a_blind_collation_is_compared_by_its_text(connection: Plain) -> None:
    await with_blind_collation(connection)
    await connection.execute(
        "create table tasks (id int primary key, part int, team int, title text);"
        "insert into tasks values (1, 0, 1, 'ada')"
    )
    await migrate(connection, declared())
    await connection.execute("alter table tasks alter title type text collate blind")
    await connection.execute("update tasks set title = 'ADA'")
    assert await connection.fetchval("select count(*) from flowcraft.event") == 2


async def test_a_row_that_moves_to_a_partition_that_refuses_it_is_gone(connection: Plain) -> None:
    await connection.execute(TABLES["partitions"])
    await migrate(connection, declared())
    await connection.execute(
        "create function no() returns trigger language plpgsql as 'begin return null; end';"
        "create trigger no before insert on tasks_1 for each row execute function no();"
        "insert into tasks (id, part) values (1, 0); truncate flowcraft.event; update tasks set part = 1"
    )
    kinds = await connection.fetch("select kind, channel from flowcraft.event")
    assert [tuple(row) for row in kinds] == [(b"g", "task_update")]
