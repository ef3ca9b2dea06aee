"""A trigger calls no cast of the table's owner: what such a type prints is what arrives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from flowcraft.adapters.postgres.schema import migrate
from flowcraft.channels import Channels
from flowcraft.declarations import Table
from flowcraft.events import Event
from tests.support.rivals import Place, rivals


class AsText(Event):
    value: str | None


class AsItIs(Event):
    value: int | None


class AsTexts(Event):
    value: list[str] | None


class Named(Event):
    value: str


@pytest.fixture
async def place(database: str) -> AsyncIterator[Place]:
    async with rivals(database) as place:
        yield place


# Each function records the role that it runs as. Casts to builtin types are implicit: they would be called
# wherever a function of PostgreSQL takes such a type.
TARGETS = ("text", "json", "int", "bytea", "timestamptz", "text[]", "bool")
TYPES = "".join(
    [
        "create type public.mood as enum ('sad', 'glad, \"so\"');",
        "create type public.pair as (a mood, b int); create type public.moods as range (subtype = mood);",
        *(
            f"create function public.evil_{of}_{number}(v public.{of}) returns {target} language plpgsql as "
            "'begin perform public.note(); return null; end';"
            f"create cast (public.{of} as {target}) with function public.evil_{of}_{number} as implicit;"
            for of in ("mood", "pair", "moods")
            for number, target in enumerate(TARGETS)
        ),
        "create domain public.whole as int check (value > 0); create domain public.words as text;",
        "create domain public.yes as bool; create domain public.numbers as int[];",
        "create domain public.moment as timestamptz; create domain public.feeling as mood;",
        "create domain public.span as interval; create domain public.wholes as whole[];",
        "create domain public.bytes as bytea; create domain public.fixed as char(4);",
        "create domain public.document as jsonb; create domain public.deeper as words",
    ]
)

# The type of a column, a value, and what arrives where the event has a text, or something that is not cast.
COLUMNS: Mapping[str, tuple[str, Any, Any]] = {
    "mood": ("'sad'", "sad", "sad"),
    "feeling": ("'sad'", "sad", "sad"),
    "pair": ("row('sad', 1)", "(sad,1)", "(sad,1)"),
    "moods": ("'[sad,sad]'", "[sad,sad]", "[sad,sad]"),
    "mood[]": (
        "array['sad', 'glad, \"so\"', null]::mood[]",
        '{sad,"glad, \\"so\\"",NULL}',
        ["sad", 'glad, "so"', None],
    ),
    "pair[]": ("array[row('sad', 1)]::pair[]", '{"(sad,1)"}', ["(sad,1)"]),
    "whole": ("7", "7", 7),
    "whole[]": ("array[7, null]", "{7,NULL}", [7, None]),
    "wholes": ("array[7]", "{7}", [7]),
    "numbers": ("array[[1, 2], [3, 4]]", "{{1,2},{3,4}}", [[1, 2], [3, 4]]),
    "words": ("'a \"b\"'", 'a "b"', 'a "b"'),
    "deeper": ("'a'", "a", "a"),
    "fixed": ("'ab'", "ab", "ab  "),
    "yes": ("true", "true", True),
    "moment": ("'2026-11-22 20:13:00.5+02'", "2026-11-22T18:13:00.5+00:00", "2026-11-22T18:13:00.5+00:00"),
    "span": ("'1 day 02:00'", "P1DT2H", "P1DT2H"),
    "bytes": ("'\\x00ff'", "\\x00ff", "AP8="),
    "document": ("'{\"a\": [1]}'", '{"a": [1]}', {"a": [1]}),
}


def declared(event: type, **params: type[str]) -> Channels:
    channels = Channels()
    name = "things.{value}" if params else "thing_update"
    channels.declare(name, event, source=Table("mallory.things"), params=params or None)
    return channels


async def things(place: Place, type_: str) -> None:
    await place.attack(f"{TYPES}; create schema mallory; create table mallory.things (value {type_})")
    await place.attack("grant usage on schema mallory to public; grant trigger on mallory.things to public")


async def values(place: Place, sql: str) -> list[Any]:
    """Let the owner of the table change it, with other settings; return the values that arrive."""
    await place.admin.execute("truncate flowcraft.event")
    settings = "set timezone to 'UTC'; set datestyle to 'SQL, DMY'; set intervalstyle to 'sql_standard'"
    await place.attack(f"{settings}; {sql}")
    rows = await place.admin.fetch("select payload from flowcraft.event order by id")
    return [msgspec.json.decode(row["payload"])["value"] for row in rows]


@pytest.mark.parametrize("type_", COLUMNS)
@pytest.mark.parametrize("event", [AsText, AsItIs])
async def test_a_value_of_a_type_that_is_not_postgresqls_arrives_without_a_call_of_its_casts(
    place: Place, type_: str, event: type
) -> None:
    await things(place, type_)
    await migrate(place.admin, declared(event))
    value, text, plain = COLUMNS[type_]
    wanted = text if event is AsText else plain
    assert await values(place, f"insert into mallory.things values ({value}), (null)") == [wanted, None]
    assert await place.ran_as() == set()
    assert await migrate(place.admin, declared(event)) == []


async def test_a_list_of_texts_arrives_as_a_list(place: Place) -> None:
    await things(place, "mood[]")
    await migrate(place.admin, declared(AsTexts))
    value = COLUMNS["mood[]"][0]
    assert await values(place, f"insert into mallory.things values ({value}), (null)") == [
        ["sad", 'glad, "so"', None],
        None,
    ]
    assert await place.ran_as() == set()


async def test_the_name_of_a_channel_is_what_a_value_prints(place: Place) -> None:
    await things(place, "mood")
    await migrate(place.admin, declared(Named, value=str))
    assert await values(place, "insert into mallory.things values ('sad'), (null)") == ["sad"]
    assert await place.admin.fetchval("select channel from flowcraft.event") == "things.sad"
    assert await place.ran_as() == set()


CHANGED: Mapping[str, type] = {
    "text": AsText,
    "int": AsItIs,
    "timestamptz": AsText,
    "json": AsItIs,
    "bool": AsText,
    "bytea": AsItIs,
    "text[]": AsItIs,
}


@pytest.mark.parametrize(("type_", "event"), CHANGED.items(), ids=CHANGED)
@pytest.mark.parametrize("family", [False, True], ids=["one channel", "a family"])
async def test_a_column_that_gets_such_a_type_after_the_migration_is_a_text_or_skipped(
    place: Place, type_: str, event: type, family: bool
) -> None:
    await things(place, type_)
    await migrate(place.admin, declared(Named, value=str) if family else declared(event))
    await place.attack("alter table mallory.things alter value type mood using null")
    if event is AsText or family:
        assert await values(place, "insert into mallory.things values ('sad')") == ["sad"]
    else:
        await place.attack("insert into mallory.things values ('sad')")
        (row,) = await place.admin.fetch("select kind, payload from flowcraft.event where kind <> 'r'")
        assert (row["kind"], row["payload"]) == (b"s", '{"reason":"value","field":"value"}')
    assert await place.ran_as() == set()


async def test_a_column_that_is_plain_again_after_the_migration_arrives_as_before(place: Place) -> None:
    await things(place, "whole")
    await migrate(place.admin, declared(AsItIs))
    await place.attack("alter table mallory.things alter value type int")
    assert await values(place, "insert into mallory.things values (7)") == [7]


async def test_other_columns_arrive_as_before_where_one_has_changed(place: Place) -> None:
    class Both(Event):
        value: str
        at: datetime
        note: dict[str, int]

    await things(place, "int")
    await place.attack("alter table mallory.things add at timestamptz, add note jsonb")
    await migrate(place.admin, declared(Both))
    insert = "insert into mallory.things values (%s, '2026-11-22 20:13+02', '{\"a\": 1}')"
    await place.attack(insert % "7")
    await place.attack("alter table mallory.things alter value type mood using null; " + insert % "'sad'")
    rows = await place.admin.fetch("select payload from flowcraft.event where kind <> 'r' order by id")
    first, second = (msgspec.json.decode(row["payload"]) for row in rows)
    assert msgspec.convert(first, Both, strict=False) == Both(
        value="7", at=datetime(2026, 11, 22, 18, 13, tzinfo=UTC), note={"a": 1}
    )
    assert second == {**first, "value": "sad"}
    assert await place.ran_as() == set()
