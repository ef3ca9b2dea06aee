"""Columns that get another type while sessions write: no change is lost, and a delete is always gone."""

from __future__ import annotations

import json
import types
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from flowcraft.adapters.postgres.schema import migrate
from flowcraft.channels import Channels
from flowcraft.declarations import Table
from flowcraft.events import Event
from tests.support.postgres import connected

if TYPE_CHECKING:
    from tests.support.postgres import Plain

FIELDS: dict[str, Any] = {
    "int": int,
    "text": str,
    "timestamptz": datetime,
    "numeric": Decimal,
    "bool": bool,
    "uuid": UUID,
    "float8": float,
    "int[]": list[int],
    "jsonb": dict[str, int],
    "interval": timedelta,
    "text[]": list[str],
    "bytea": bytes,
}
TYPES = """create type pair as (a int, b int); create type mood as enum ('sad'); create domain whole as int;
create domain wholes as whole[]; create domain words as text check (value <> '');"""
RETYPED = {
    "text": "'x'",
    "varchar[]": "array['x']",
    "int": "5",
    "int8": "9007199254740993",
    "int[]": "array[1, 2]",
    "jsonb": "'{\"a\": 1}'",
    "json": "'[1]'",
    "pair": "'(1,2)'",
    "pair[]": "array['(1,2)'::pair]",
    "mood": "'sad'",
    "whole": "7",
    "wholes": "array[1, 2]",
    "words": "'x'",
    "date": "'infinity'",
    "interval": "'1 mon'",
    "money": "1.5",
    "bytea": r"'\x00ff'",
    "xid8": "'5'",
    "point": "'(1,2)'",
    "tsvector": "'a b'",
    "tstzrange": "'[2026-01-01,)'",
    "numeric": "'NaN'",
    "float8": "'-Infinity'",
    "bit(3)": "b'101'",
    "regclass": "'pg_class'",
    "timetz": "'10:00+02'",
}


def declared(annotation: Any) -> Channels:
    members = {"id": int, "v": annotation | None}
    event = types.new_class("Thing", (Event,), {}, lambda space: space.update(__annotations__=members))
    channels = Channels()
    channels.declare("thing_update", event, source=Table("things"))
    return channels


@pytest.mark.timeout(120)
@pytest.mark.parametrize("given", FIELDS)
async def test_no_change_is_lost_whatever_the_type_is_by_then(
    connection: Plain, database: str, given: str
) -> None:
    await connection.execute(f"{TYPES} create table things (id int primary key, v {given})")
    await migrate(connection, declared(FIELDS[given]))
    found = dict[str, str]()
    async with connected(database) as writer:
        await writer.execute("insert into things values (1); update things set id = 1; delete from things")
        for type_, value in RETYPED.items():
            await connection.execute(f"alter table things drop v; alter table things add v {type_}")
            await connection.execute("truncate flowcraft.event")
            await writer.execute(f"insert into things values (2, {value})")
            await writer.execute("update things set v = null")
            await writer.execute(f"update things set v = {value}")
            await writer.execute("delete from things")
            kinds = await connection.fetch("select kind from flowcraft.event order by id")
            found[type_] = "".join(row["kind"].decode() for row in kinds)
    assert set(found.values()) <= {"eeeg", "sesg"}, found


async def test_a_session_that_writes_calls_no_cast_of_the_new_type(connection: Plain, database: str) -> None:
    await connection.execute(f"{TYPES} create table things (id int primary key, v bool)")
    await migrate(connection, declared(bool))
    async with connected(database) as writer:
        await writer.execute("insert into things values (1, true); update things set v = false")
        await connection.execute(
            "create function cast_of_others(pair) returns json language plpgsql as"
            " $$ begin return to_json(current_user); end $$;"
            "create cast (pair as json) with function cast_of_others (pair);"
            "alter table things drop v; alter table things add v pair; truncate flowcraft.event"
        )
        await writer.execute("update things set v = '(1,2)'; insert into things values (2, '(3,4)')")
    rows = await connection.fetch("select kind, payload from flowcraft.event order by id")
    assert [(row["kind"], json.loads(row["payload"])) for row in rows] == [
        (b"s", {"reason": "value", "field": "v"})
    ] * 2
