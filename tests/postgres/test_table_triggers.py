"""Rows become events of their declared type, in the transaction that changes them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Literal
from uuid import UUID

import msgspec
import pydantic
import pytest

from flowcraft.adapters.postgres.schema import migrate
from flowcraft.adapters.postgres.statements import statement
from flowcraft.channels import Channels
from flowcraft.declarations import Table
from flowcraft.events import Event, Int64
from tests.support.postgres import Ear, connected

if TYPE_CHECKING:
    from tests.support.postgres import Plain

RUN = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Everything(Event):
    run_id: UUID
    run_text: str
    title: str
    color: Color
    status: Literal["queued", "running"]
    small: int
    big: Int64
    ratio: float
    ok: bool
    amount: Decimal
    at: datetime
    at_text: str
    day: date
    took: timedelta
    data: dict[str, list[int]]
    labels: list[str]
    bigs: list[Int64]
    runs: list[UUID]
    raw: bytes
    nothing: str | None
    big_or_nothing: Int64 | None
    not_a_column: int = 3


class EverythingModel(pydantic.BaseModel):
    kind: Literal["everything"] = "everything"
    run_id: UUID
    color: Color
    big: str
    amount: Decimal
    at: datetime
    day: date
    data: dict[str, list[int]]
    labels: list[str]
    nothing: str | None


@dataclass
class PlainRun:
    run_id: UUID
    small: int


class RunGone(Event):
    run_id: UUID


EVERYTHING = """
create type color as enum ('red', 'blue');
create schema "App";
create table "App"."Runs" (
    id uuid primary key, title text, "Colour" color, status text, small int, big bigint, ratio float8,
    ok bool, amount numeric, at timestamptz, day date, took interval, data jsonb, labels text[],
    bigs bigint[], runs uuid[], raw bytea, nothing text, secret text default 'never in an event'
);
"""
ROW = f"""
insert into "App"."Runs" values (
    '{RUN}', 'a "quoted" 🚀 title', 'red', 'running', -7, 9007199254740993, 0.1,
    true, 12345678901234567890.12345, '2026-11-22 20:13:00.123456+02', '2026-11-22', '1 day 02:03:04.5',
    '{{"a": [1, 2]}}', '{{x,"y z"}}', '{{9007199254740993}}', array['{RUN}'::uuid],
    decode(repeat('00ff', 60), 'hex'), null
)
"""
COLUMNS = {"run_id": "id", "run_text": "id", "color": "Colour", "at_text": "at", "big_or_nothing": "nothing"}


@pytest.fixture
async def connection(every_database: str) -> AsyncIterator[Plain]:
    async with connected(every_database) as connection:
        yield connection


async def events(connection: Plain) -> list[tuple[str, str]]:
    return [
        (r["channel"], r["payload"])
        for r in await connection.fetch("select * from flowcraft.event order by id")
    ]


async def test_values_of_every_type_decode_as_declared(connection: Plain) -> None:
    channels = Channels()
    channels.declare("run_update", Everything, source=Table("App.Runs", columns=COLUMNS))
    await connection.execute(EVERYTHING)
    await migrate(connection, channels)
    await connection.execute("set timezone to 'Asia/Kathmandu'")
    await connection.execute("set intervalstyle to 'postgres_verbose'")
    await connection.execute("set datestyle to 'SQL, DMY'")
    await connection.execute(ROW)
    ((channel, payload),) = await events(connection)
    assert channel == "run_update"
    assert "secret" not in payload
    assert msgspec.json.decode(payload, type=Everything) == Everything(
        run_id=RUN,
        run_text=str(RUN),
        title='a "quoted" 🚀 title',
        color=Color.RED,
        status="running",
        small=-7,
        big="9007199254740993",
        ratio=0.1,
        ok=True,
        amount=Decimal("12345678901234567890.12345"),
        at=datetime(2026, 11, 22, 18, 13, 0, 123456, tzinfo=UTC),
        at_text="2026-11-22T18:13:00.123456+00:00",
        day=date(2026, 11, 22),
        took=timedelta(days=1, hours=2, minutes=3, seconds=4.5),
        data={"a": [1, 2]},
        labels=["x", "y z"],
        bigs=["9007199254740993"],
        runs=[RUN],
        raw=b"\x00\xff" * 60,
        nothing=None,
        big_or_nothing=None,
    )


async def test_models_of_pydantic_and_dataclasses_read_rows_too(connection: Plain) -> None:
    channels = Channels()
    source = Table("App.Runs", run_id="id", color="Colour")
    channels.declare("model_update", EverythingModel, source=source)
    channels.declare("plain_update", PlainRun, source=Table("App.Runs", run_id="id"))
    await connection.execute(EVERYTHING)
    await migrate(connection, channels)
    await connection.execute(ROW)
    payloads = dict(await events(connection))
    model = EverythingModel.model_validate_json(payloads["model_update"])
    assert (model.kind, model.run_id, model.amount) == (
        "everything",
        RUN,
        Decimal("12345678901234567890.12345"),
    )
    assert msgspec.json.decode(payloads["plain_update"], type=PlainRun) == PlainRun(RUN, -7)


async def test_a_family_follows_the_row_and_a_union_says_what_became_of_it(connection: Plain) -> None:
    channels = Channels()
    channels.declare(
        "runs.{run_id}",
        PlainUpdate | RunGone,
        params={"run_id": UUID},
        source=[
            Table("runs", event=PlainUpdate, run_id="id"),
            Table("runs", event=RunGone, on=["delete"], run_id="id"),
        ],
    )
    await connection.execute("create table runs (id uuid, small int)")
    await migrate(connection, channels)
    await connection.execute("insert into runs values ($1, 1), (null, 2)", RUN)
    await connection.execute("update runs set small = 3 where small = 1")
    await connection.execute("delete from runs")
    assert await events(connection) == [
        (f"runs.{RUN}", f'{{"type":"PlainUpdate","run_id":"{RUN}","small":1}}'),
        (f"runs.{RUN}", f'{{"type":"PlainUpdate","run_id":"{RUN}","small":3}}'),
        (f"runs.{RUN}", f'{{"type":"RunGone","run_id":"{RUN}"}}'),
    ]


class PlainUpdate(Event):
    run_id: UUID
    small: int


class WithDefaults(Event):
    id: int
    labels: tuple[str, ...] = ("new",)
    note: str | None = None


async def test_a_default_stands_in_for_a_column_that_is_not_there(connection: Plain) -> None:
    # The generated TypeScript says that these fields are always written.
    channels = Channels()
    channels.declare("item_update", WithDefaults, source=Table("items"))
    await connection.execute("create table items (id int)")
    await migrate(connection, channels)
    await connection.execute("insert into items values (1)")
    assert await events(connection) == [
        ("item_update", '{"type":"WithDefaults","id":1,"labels":["new"],"note":null}')
    ]


class Counted(Event):
    id: int


def counted(*tables: str) -> Channels:
    channels = Channels()
    for table in tables:
        channels.declare(f"{table.lower()}_update", Counted, source=Table(table))
    return channels


async def test_a_statement_is_one_write_however_many_rows_it_changes(connection: Plain) -> None:
    await connection.execute("create table counted (id int, n int)")
    await migrate(connection, counted("counted"))
    await connection.execute("create table writes (n int)")
    await connection.execute(COUNT_WRITES)
    await connection.execute("insert into counted select n, 0 from generate_series(1, 1000) as n")
    await connection.execute("update counted set n = n + 1")
    assert await connection.fetchval("select count(*) from writes") == 2
    assert len(await events(connection)) == 2_000


COUNT_WRITES = """
create function count_write() returns trigger language plpgsql as $$
begin insert into public.writes values (1); return null; end $$;
create trigger count_write after insert on flowcraft.event for each statement execute function count_write();
"""


async def test_a_statement_that_changes_nothing_stays_a_transaction_that_only_reads(
    connection: Plain,
) -> None:
    await connection.execute("create table counted (id int)")
    await migrate(connection, counted("counted"))
    async with connection.transaction():
        await connection.execute("update counted set id = 1")
        assert await connection.fetchval("select pg_current_xact_id_if_assigned()") is None


async def test_a_statement_that_changes_nothing_rings_nobody(connection: Plain, every_database: str) -> None:
    await connection.execute("create table counted (id int)")
    await migrate(connection, counted("counted"))
    ear = Ear()
    await connection.add_listener("flowcraft_wakeup", ear)
    async with connected(every_database) as reader:
        await reader.execute(statement("join"))
        await connection.execute("update counted set id = 1")
        await connection.execute("select 1")
        assert ear.heard == []
        await connection.execute("insert into counted values (1)")
        await connection.execute("select 1")
        assert ear.heard == [""]


async def test_what_a_savepoint_takes_back_is_no_event(connection: Plain) -> None:
    await connection.execute("create table counted (id int)")
    await migrate(connection, counted("counted"))
    async with connection.transaction():
        await connection.execute("insert into counted values (1)")
        await connection.execute("savepoint s; insert into counted values (2); rollback to s")
        await connection.execute("insert into counted values (3)")
    assert [payload for _, payload in await events(connection)] == [
        '{"type":"Counted","id":1}',
        '{"type":"Counted","id":3}',
    ]
    assert await connection.fetchval("select count(distinct xid) from flowcraft.event") == 1


async def test_one_transaction_over_two_tables_keeps_its_order(connection: Plain) -> None:
    await connection.execute('create table counted (id int); create table "Counted" (id int)')
    channels = Channels()
    channels.declare("small_update", Counted, source=Table("counted"))
    channels.declare("capital_update", Counted, source=Table("Counted"))
    await migrate(connection, channels)
    await connection.execute(
        'insert into counted values (1); insert into "Counted" values (2); insert into counted values (3)'
    )
    assert [channel for channel, _ in await events(connection)] == [
        "small_update",
        "capital_update",
        "small_update",
    ]


async def test_an_upsert_and_a_partitioned_table_are_statements_like_others(connection: Plain) -> None:
    await connection.execute(
        "create table counted (id int primary key, n int) partition by range (id);"
        "create table low partition of counted for values from (0) to (10);"
        "create table high partition of counted for values from (10) to (20)"
    )
    await migrate(connection, counted("counted"))
    await connection.execute("insert into counted values (1, 0), (11, 0)")
    await connection.execute("insert into counted values (1, 1), (2, 1) on conflict (id) do update set n = 1")
    await connection.execute("update counted set id = 12 where id = 2")
    rows = await connection.fetch("select kind, payload from flowcraft.event order by id")
    found = [(row["kind"], msgspec.json.decode(row["payload"])["id"]) for row in rows]
    # The row 1 is as it was, as far as the event has it.
    assert sorted(found) == [(b"e", 1), (b"e", 2), (b"e", 11), (b"e", 12), (b"g", 2)]


async def test_whoever_may_change_the_table_needs_no_right_on_the_log(
    connection: Plain,
) -> None:
    await connection.execute("create table counted (id int)")
    await migrate(connection, counted("counted"))
    role = f"writer_of_{await connection.fetchval('select current_database()')}"
    await connection.execute(f"create role {role}; grant insert on counted to {role}")
    try:
        async with connection.transaction():
            await connection.execute(f"set local role {role}")
            await connection.execute("insert into counted values (1)")
        assert len(await events(connection)) == 1
    finally:
        await connection.execute(f"drop owned by {role}; drop role {role}")
