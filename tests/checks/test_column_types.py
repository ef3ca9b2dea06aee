"""Which columns can be which fields: what the database writes into the JSON, against the event's schema."""

from __future__ import annotations

import asyncio
from dataclasses import make_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

import msgspec

from flowcraft import Channels, Int64, Table
from flowcraft.adapters.postgres.inspection import DatabaseFacts, inspect
from flowcraft.checking.facts import Facts
from flowcraft.checking.findings import findings
from flowcraft.checking.rules import DATABASE
from tests.support.postgres import connected

if TYPE_CHECKING:
    from collections.abc import Mapping

FITS: Mapping[str, Any] = {
    "uuid": UUID,
    "text": UUID,  # it may hold one
    "varchar(9)": str,
    "bigint": int,
    "smallint": float,
    "integer": Annotated[int, msgspec.Meta(ge=0)],
    "numeric": float,
    "numeric(9,2)": Decimal,
    "int8": Int64,
    "boolean": bool,
    "timestamptz": datetime,
    "timestamp": datetime,
    "date": date,
    "time": time,
    "interval": timedelta,
    "bytea": bytes,
    "jsonb": dict[str, int],
    "json": list[int],
    "text[]": list[str],
    "integer[]": tuple[int, ...],
    "mood": Literal["good", "bad"],
    "positive": int,
    "inet": str,
    "char(3)": str,
}
DOES_NOT_FIT: Mapping[str, tuple[Any, str]] = {
    "text": (int, "integer"),
    "integer": (UUID, "uuid"),
    "numeric": (int, "integer"),
    "date": (datetime, "date-time"),
    "timestamp with time zone": (date, "date"),
    "boolean": (Literal["yes", "no"], "one of no, yes"),
    "uuid": (bool, "boolean"),
    "text[]": (Literal["a", "b"], "one of a, b"),
    "interval": (int, "integer"),
    "public.mood": (list[str], "array"),
}


def declared(types: list[Any]) -> Channels:
    event = make_dataclass("Thing", [(f"f{n}", kind) for n, kind in enumerate(types)], frozen=True)
    channels = Channels()
    channels.declare("thing_update", event, source=Table("things"))
    return channels


async def looked_at(dsn: str, columns: list[str], channels: Channels) -> DatabaseFacts:
    async with connected(dsn) as connection:
        await connection.execute("create type mood as enum ('good', 'bad')")
        await connection.execute("create domain positive as integer not null check (value > 0)")
        listed = ", ".join(f"f{n} {column} not null" for n, column in enumerate(columns))
        await connection.execute(f"create table things ({listed})")
    return await inspect(dsn, channels)


def found(dsn: str, types: Mapping[str, Any]) -> list[str]:
    channels = declared(list(types.values()))
    facts = asyncio.run(looked_at(dsn, list(types), channels))
    rules = [rule for rule in DATABASE if rule.id == "FC058"]
    return [one.sentence for one in findings(Facts("app:channels", channels, database=facts), rules)]


def test_columns_that_fit_are_left_alone(database: str) -> None:
    assert found(database, FITS) == []


def test_columns_that_cannot_be_their_fields_are_told(database: str) -> None:
    sentences = found(database, {column: kind for column, (kind, _) in DOES_NOT_FIT.items()})
    told = [sentence.partition("; ")[0] for sentence in sentences]
    assert told == [
        f"thing_update: column public.things.f{n} is {column}, which does not fit the {wanted} "
        f"that Thing.f{n} takes"
        for n, (column, (_, wanted)) in enumerate(DOES_NOT_FIT.items())
    ]
