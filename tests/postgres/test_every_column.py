"""Columns of every name and type: each value decodes as declared, under every setting, or is skipped."""

from __future__ import annotations

import types
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import msgspec

from flowcraft.adapters.postgres.schema import migrate
from flowcraft.channels import Channels
from flowcraft.declarations import Table
from flowcraft.events import Event, Int64

if TYPE_CHECKING:
    from tests.support.postgres import Plain


class Mood(Enum):
    SAD = "sad"
    GLAD = "glad"


SKIPPED = object()
ID = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
TYPES = """
create type mood as enum ('sad', 'glad', 'new'); create type pair as (a int, b interval);
create domain whole as int; create domain wholes as whole[]; create domain deeper as wholes;
create domain span as interval; create domain spans as span[]; create domain moment as timestamptz;
create domain day as date; create domain days as day[]; create domain cash as money;
create domain raw as bytea;
create domain ratio as float8; create domain exact as numeric; create domain document as jsonb;
create domain feeling as mood; create domain clock as timetz;
"""
AT = datetime(2026, 2, 1, 3, 4, 5, 600000, tzinfo=UTC)
AT_SQL = "'2026-02-01 03:04:05.6+00'"
VALUES: list[tuple[str, Any, str, Any]] = [
    ("int2", int, "-7", -7),
    ("int8", int, "9007199254740991", 2**53 - 1),
    ("int8", int, "9007199254740992", SKIPPED),
    ("int8", int, "-9007199254740992", SKIPPED),
    ("int8", Int64, "9223372036854775807", "9223372036854775807"),
    ("int8", str, "9223372036854775807", "9223372036854775807"),
    ("whole", int, "7", 7),
    ("whole", str, "7", "7"),
    ("whole[]", list[int], "array[7, 8]", [7, 8]),
    ("wholes", list[int], "array[7, 8]", [7, 8]),
    ("deeper", list[int], "array[7, 8]", [7, 8]),
    ("int[]", list[list[int]], "array[[1, 2], [3, 4]]", [[1, 2], [3, 4]]),
    ("int8[]", list[Int64], "array[9223372036854775807]", ["9223372036854775807"]),
    ("int8[]", list[int], "array[9007199254740993]", SKIPPED),
    ("oid", int, "7", 7),
    ("float8", float, "0.1::float8 + 0.2", 0.1 + 0.2),
    ("float4", float, "1.5", 1.5),
    ("float8", str, "0.1::float8 + 0.2", "0.30000000000000004"),
    ("float8", float, "'NaN'", SKIPPED),
    ("float4", float, "'Infinity'", SKIPPED),
    ("ratio", float, "'-Infinity'", SKIPPED),
    ("float8[]", list[float], "array['NaN'::float8]", SKIPPED),
    ("float8[]", list[float], "array[0.1::float8 + 0.2]", [0.1 + 0.2]),
    ("numeric", float, "1.25", 1.25),
    ("numeric", float, "'NaN'", SKIPPED),
    ("numeric", Decimal, "12345678901234567890.12345", Decimal("12345678901234567890.12345")),
    ("exact", Decimal, "1.50", Decimal("1.50")),
    ("exact", float, "'NaN'", SKIPPED),
    ("money", Decimal, "'1234.50'", Decimal("1234.50")),
    ("money", float, "'1234.50'", 1234.5),
    ("cash", float, "'1234.50'", 1234.5),
    ("bool", bool, "true", True),
    ("bool", str, "true", "true"),
    ("text", str, "'a \"b\" \\ {r} %s $1 é'", 'a "b" \\ {r} %s $1 é'),
    ("varchar(3)", str, "'abc'", "abc"),
    ("char(4)", str, "'ab'", "ab"),
    ('"char"', str, "'x'", "x"),
    ("name", str, "'x'", "x"),
    ("text[]", list[str], "array['a', 'b']", ["a", "b"]),
    ("text", Literal["a", "b"], "'a'", "a"),
    ("text", Literal["a", "b"], "'c'", SKIPPED),
    ("text", Mood, "'sad'", Mood.SAD),
    ("mood", Mood, "'glad'", Mood.GLAD),
    ("mood", Mood, "'new'", SKIPPED),
    ("mood", str, "'new'", "new"),
    ("feeling", Mood, "'new'", SKIPPED),
    ("feeling", Mood, "'sad'", Mood.SAD),
    ("mood[]", list[str], "array['sad', 'glad']::mood[]", ["sad", "glad"]),
    ("date", date, "'2026-02-01'", date(2026, 2, 1)),
    ("date", str, "'2026-02-01'", "2026-02-01"),
    ("date", date, "'0001-01-01'", date(1, 1, 1)),
    ("date", date, "'9999-12-31'", date(9999, 12, 31)),
    ("date", date, "'10000-01-01'", SKIPPED),
    ("date", date, "'0044-03-15 BC'", SKIPPED),
    ("date", date, "'infinity'", SKIPPED),
    ("day", date, "'-infinity'", SKIPPED),
    ("day", date, "'2026-02-01'", date(2026, 2, 1)),
    ("day", str, "'2026-02-01'", "2026-02-01"),
    ("days", list[date], "array['2026-02-01'::date]", [date(2026, 2, 1)]),
    ("date[]", list[date], "array['infinity'::date]", SKIPPED),
    ("date[]", list[str], "array['2026-02-01'::date]", ["2026-02-01"]),
    ("timestamptz", datetime, AT_SQL, AT),
    ("timestamptz", str, AT_SQL, "2026-02-01T03:04:05.6+00:00"),
    ("moment", datetime, AT_SQL, AT),
    ("moment[]", list[datetime], f"array[{AT_SQL}::timestamptz]", [AT]),
    ("timestamptz", datetime, "'infinity'", SKIPPED),
    ("timestamptz", datetime, "'12026-01-01'", SKIPPED),
    ("timestamptz[]", list[datetime], "array['infinity'::timestamptz]", SKIPPED),
    ("timestamp", datetime, "'2026-02-01 03:04:05'", datetime(2026, 2, 1, 3, 4, 5)),  # noqa: DTZ001
    ("timestamp", datetime, "'0044-03-15 BC'", SKIPPED),
    ("time", time, "'03:04:05.6'", time(3, 4, 5, 600000)),
    ("time", time, "'24:00'", SKIPPED),
    ("time[]", list[time], "array['24:00'::time]", SKIPPED),
    ("timetz", time, "'10:00+02'", time.fromisoformat("10:00:00+02:00")),
    ("timetz", time, "'10:00+05:45'", time.fromisoformat("10:00:00+05:45")),
    ("clock", time, "'24:00+02'", SKIPPED),
    ("interval", timedelta, "'1 day 02:03:04.5'", timedelta(days=1, hours=2, minutes=3, seconds=4.5)),
    ("interval", timedelta, "'-1 day +02:03:04.5'", timedelta(days=-1, hours=2, minutes=3, seconds=4.5)),
    ("interval", timedelta, "'-00:00:01'", timedelta(seconds=-1)),
    ("interval", timedelta, "'0'", timedelta(0)),
    ("interval", timedelta, "'1 month'", SKIPPED),
    ("interval", str, "'1 month'", "P1M"),
    ("span", timedelta, "'1 day'", timedelta(days=1)),
    ("span", str, "'1 day'", "P1D"),
    (
        "interval[]",
        list[timedelta],
        "array['1 day'::interval, '-1 s']",
        [timedelta(1), timedelta(seconds=-1)],
    ),
    ("interval[]", list[timedelta], "array['1 year'::interval]", SKIPPED),
    ("span[]", list[timedelta], "array['1 day'::interval]", [timedelta(days=1)]),
    ("spans", list[timedelta], "array['1 day'::interval]", [timedelta(days=1)]),
    ("spans", list[timedelta], "'{}'", []),
    ("bytea", bytes, r"'\x00ff'", b"\x00\xff"),
    ("raw", bytes, r"'\x00ff'", b"\x00\xff"),
    ("bytea[]", list[bytes], r"array['\x00ff'::bytea]", [b"\x00\xff"]),
    ("bytea", str, r"'\x00ff'", r"\x00ff"),
    ("uuid", UUID, f"'{ID}'", ID),
    ("uuid", str, f"'{ID}'", str(ID)),
    ("json", dict[str, int], "'{\"a\":  1}'", {"a": 1}),
    ("jsonb", dict[str, int], "'{\"a\": 1}'", {"a": 1}),
    ("document", dict[str, int], "'{\"a\": 1}'", {"a": 1}),
    ("jsonb[]", list[dict[str, int]], "array['{\"a\": 1}'::jsonb]", [{"a": 1}]),
    ("inet", str, "'10.0.0.1/8'", "10.0.0.1/8"),
    ("bit(3)", str, "b'101'", "101"),
    ("daterange", str, "'[2026-02-01,2026-03-01)'", "[2026-02-01,2026-03-01)"),
    ("tstzrange", str, f"tstzrange({AT_SQL}, null)", '["2026-02-01 03:04:05.6+00",)'),
    ("int4multirange", str, "'{[1,3)}'", "{[1,3)}"),
    ("pair", str, "row(1, '1 day')::pair", "(1,P1D)"),
    ("regclass", str, "'pg_class'::regclass", "pg_class"),
    ("point", str, "'(1,2)'", "(1,2)"),
    ("tsvector", str, "'a b'", "'a' 'b'"),
]
SETTINGS = (
    "set timezone to 'UTC'",
    "set datestyle to 'German'",
    "set datestyle to 'SQL, DMY'",
    "set intervalstyle to 'postgres_verbose'",
    "set timezone to 'Asia/Kathmandu'",
    "set extra_float_digits to -10",
    "set bytea_output to 'escape'",
    "set standard_conforming_strings to off",
    "set quote_all_identifiers to on",
    "set transform_null_equals to on",
    "set xmlbinary to hex",
    "set search_path to ''",
    "set enable_hashjoin to off; set enable_mergejoin to off",
    "set plan_cache_mode to force_generic_plan",
)


def event(name: str, annotations: dict[str, Any]) -> Any:
    space = {"__annotations__": annotations, "__module__": __name__}
    return types.new_class(name, (Event,), {}, lambda namespace: namespace.update(space))


async def test_a_value_of_every_type_decodes_as_declared_under_every_setting_or_is_skipped(
    connection: Plain,
) -> None:
    channels, kinds = Channels(), dict[str, tuple[Any, Any]]()
    await connection.execute(f"{TYPES}; set timezone to 'UTC'")
    for number, (type_, annotation, value, expected) in enumerate(VALUES):
        table, kind = f"t{number}", event(f"E{number}", {"id": int, "v": annotation | None})
        await connection.execute(f"create table {table} (id int primary key, v {type_})")
        await connection.execute(
            f"create table s{number} (v {type_}); insert into s{number} values ({value})"
        )
        channels.declare(f"{table}_update", kind, source=Table(table))
        kinds[f"{table}_update"] = kind, expected
    await migrate(connection, channels)
    for one, setting in enumerate(SETTINGS):
        await connection.execute(f"reset all; {setting}")
        await connection.execute(
            "".join(f"insert into public.t{n} select {one}, v from public.s{n};" for n in range(len(VALUES)))
        )
    await connection.execute("reset all")
    rows = await connection.fetch("select kind, channel, payload from flowcraft.event order by id")
    assert len(rows) == len(SETTINGS) * len(VALUES)
    wrong = list[object]()
    for row in rows:
        kind, expected = kinds[row["channel"]]
        if expected is SKIPPED:
            found = SKIPPED if row["payload"] == '{"reason":"value","field":"v"}' else row["payload"]
        else:
            try:
                found = msgspec.json.decode(row["payload"], type=kind).v
            except msgspec.ValidationError as error:
                found = error
        if found != expected:
            wrong.append((VALUES[int(row["channel"][1:-7])], row["payload"], found))
    assert wrong == []


WORDS = """
r n o c s t x e k i u v c1 c2 po pc there kind channel payload kinds channels payloads bulk same
relation query written state message found old new tg_op tg_relid tg_table_name wanted given was bad
key place old_channel old_payload flowcraft_old flowcraft_new row select order user table {relation}
{table} %s null true array case type id2 public pg_catalog dollar$body$ semi;colon quo"ted quo'ted
back\\slash
"""
NAMES = [*WORDS.split(), "Case Mixed", "é" * 31, "a" * 63]


async def test_a_column_of_any_name_is_read(connection: Plain) -> None:
    channels = Channels()
    for number, name in enumerate(NAMES):
        quoted = '"' + name.replace('"', '""') + '"'
        await connection.execute(
            f"create table t{number} (id int primary key, {quoted} int not null, extra int)"
        )
        await connection.execute(f"create table k{number} ({quoted} int primary key, extra int)")
        await connection.execute(f"create table p{number} ({quoted} int not null, extra int)")
        for prefix in "tkp":
            kind = event(f"{prefix.upper()}{number}", {"team": int, "extra": int | None})
            source = Table(f"{prefix}{number}", columns={"team": name})
            channels.declare(f"{prefix}{number}.{{team}}", kind, params={"team": int}, source=source)
    await migrate(connection, channels)
    assert await migrate(connection, channels) == []
    for number, name in enumerate(NAMES):
        quoted = '"' + name.replace('"', '""') + '"'
        await connection.execute(
            f"insert into t{number} values (1, 7); update t{number} set {quoted} = 8; delete from t{number};"
            f"insert into k{number} values (7); update k{number} set {quoted} = 8; truncate k{number};"
            f"insert into p{number} values (7); update p{number} set {quoted} = 8"
        )
    rows = await connection.fetch("select kind, channel, payload from flowcraft.event order by id")
    found = {(row["kind"].decode(), row["channel"]) for row in rows}
    expected = {
        (kind, f"{prefix}{number}.{team}")
        for number in range(len(NAMES))
        for prefix, kind, team in [
            ("t", "e", 7), ("t", "g", 7), ("t", "e", 8), ("t", "g", 8),
            ("k", "e", 7), ("k", "g", 7), ("k", "e", 8), ("k", "g", 8),
            ("p", "e", 7), ("p", "e", 8),
        ]
    }  # fmt: skip
    assert found ^ expected == set()


async def test_fields_of_any_name_are_written(connection: Plain) -> None:
    fields = [name for name in NAMES if name.isidentifier() and name.isascii()]
    columns = ", ".join(f'"{name}" int' for name in fields)
    await connection.execute(f"create table t (id int primary key, {columns})")
    kind = msgspec.defstruct(
        "Wide", [("id", int), *((f"f{n}", int, msgspec.field(name=name)) for n, name in enumerate(fields))]
    )
    channels = Channels()
    channels.declare("t_update", kind, source=Table("t"))
    await migrate(connection, channels)
    await connection.execute(
        f"insert into t values (0, {', '.join(map(str, range(len(fields))))}); delete from t"
    )
    rows = await connection.fetch("select payload from flowcraft.event order by id")
    payloads = [msgspec.json.decode(row["payload"]) for row in rows]
    assert payloads == [{"id": 0, **{name: n for n, name in enumerate(fields)}}, {"id": 0}]
