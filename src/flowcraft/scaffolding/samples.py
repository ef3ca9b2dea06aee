"""Samples: values that fit a type, for the generated tests of a channel."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin
from uuid import UUID

import msgspec
from typing_extensions import TypeAliasType

from flowcraft.scaffolding.edits import ScaffoldingRefused
from flowcraft.scaffolding.request import Sample

_UUID = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
_SEQUENCES = (list, tuple, set, frozenset)


def sample(name: str, annotation: object) -> Sample:
    """Return a value of a type.

    Raises:
        ScaffoldingRefused: the type has no sample value.
    """
    plain = _unwrapped(annotation)
    if plain is int and get_origin(annotation) is Annotated:
        return _within(name, get_args(annotation)[1:])
    if plain in _SCALARS:
        expression, as_json, *imports = _SCALARS[cast(type, plain)](name)
        return Sample(name, str(expression), as_json, tuple(cast(list[tuple[str, str]], imports)))
    origin, arguments = get_origin(plain) or plain, get_args(plain)
    if origin is Literal:
        return Sample(name, _text(arguments[0]), arguments[0])
    if origin in (Union, types.UnionType):
        return _of_union(name, arguments)
    if origin in _SEQUENCES:
        return _of_sequence(name, cast(type, origin), arguments)
    if origin in (dict, object, Any):
        return Sample(name, "{}", {})
    if isinstance(plain, type) and issubclass(plain, Enum):
        first = next(iter(plain))
        return Sample(name, str(first), first.value, ((plain.__module__, plain.__name__),))
    raise ScaffoldingRefused(
        f"{name}: the generated tests have no sample value for {plain}; use a simpler type"
    )


def _within(name: str, extras: tuple[object, ...]) -> Sample:
    limits = [extra for extra in extras if isinstance(extra, msgspec.Meta)]
    least = max((int(limit.ge) for limit in limits if limit.ge is not None), default=7)
    most = min((int(limit.le) for limit in limits if limit.le is not None), default=least)
    return Sample(name, str(min(least, most)), min(least, most))


def _of_union(name: str, members: tuple[object, ...]) -> Sample:
    for member in members:
        if member is not types.NoneType:
            try:
                return sample(name, member)
            except ScaffoldingRefused:
                if types.NoneType in members:
                    return Sample(name, "None", None)
                raise
    return Sample(name, "None", None)


def _of_sequence(name: str, origin: type, arguments: tuple[object, ...]) -> Sample:
    item = sample(name, arguments[0]) if arguments else Sample(name, '"a"', "a")
    written: dict[type, str] = {
        list: f"[{item.expression}]",
        tuple: f"({item.expression},)",
        set: f"{{{item.expression}}}",
    }
    expression = written.get(origin, f"frozenset({{{item.expression}}})")
    return Sample(name, expression, [item.json], item.imports)


def _unwrapped(annotation: object) -> object:
    if isinstance(annotation, TypeAliasType):
        return _unwrapped(annotation.__value__)
    if get_origin(annotation) is not Annotated:
        return annotation
    inner, *extras = get_args(annotation)
    patterns = [extra.pattern for extra in extras if isinstance(extra, msgspec.Meta) and extra.pattern]
    return _Digits if inner is str and patterns else _unwrapped(inner)


class _Digits:
    """A placeholder for a text with a pattern, as in `Int64`."""


def _text(value: object) -> str:
    text = repr(value)
    return '"' + text[1:-1] + '"' if isinstance(value, str) and '"' not in text else text


_Made = tuple[Any, ...]
_DATETIME = ("datetime", "datetime")
_SCALARS: Mapping[object, Callable[[str], _Made]] = {
    str: lambda name: (_text(name), name),
    _Digits: lambda _: ('"7"', "7"),
    int: lambda _: ("7", 7),
    float: lambda _: ("0.5", 0.5),
    bool: lambda _: ("True", True),
    bytes: lambda _: ('b"a"', "YQ=="),
    UUID: lambda _: (f'UUID("{_UUID}")', _UUID, ("uuid", "UUID")),
    Decimal: lambda _: ('Decimal("1")', "1", ("decimal", "Decimal")),
    datetime: lambda _: (
        "datetime(2026, 11, 22, 20, 13, tzinfo=UTC)",
        "2026-11-22T20:13:00Z",
        ("datetime", "UTC"),
        _DATETIME,
    ),
    date: lambda _: ("date(2026, 11, 22)", "2026-11-22", ("datetime", "date")),
    time: lambda _: ("time(20, 13)", "20:13:00", ("datetime", "time")),
    timedelta: lambda _: ("timedelta(seconds=90)", "PT90S", ("datetime", "timedelta")),
    type(None): lambda _: ("None", None),
}


def sample_of_column(type_name: str, *, is_array: bool) -> object:
    """Return a JSON value for a column without a field."""
    return [] if is_array else _OF_COLUMN.get(type_name, 7)


_OF_COLUMN: Mapping[str, object] = {
    "bool": True,
    "uuid": _UUID,
    "timestamptz": "2026-11-22T20:13:00Z",
    "timestamp": "2026-11-22T20:13:00",
    "date": "2026-11-22",
    "time": "20:13:00",
    "interval": "PT90S",
    "json": {},
    "jsonb": {},
    "bytea": "\\x61",
    "text": "a",
    "varchar": "a",
    "bpchar": "a",
    "name": "a",
}
