"""Triggers: what a declared `Table(...)` asks of the database, in the form that `sql/install.sql` reads.

The database itself looks the columns up, so that one text serves Python and psql. This module decides which
field comes from which column, and which values must be sent as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NewType, Union, cast, get_args, get_origin
from uuid import UUID

import msgspec

from flowcraft.channels import Channels
from flowcraft.declarations import PERSON, Declaration, Rows, Table
from flowcraft.errors import DeclarationError
from flowcraft.events import EventField

_IDENTIFIER = re.compile(r'"(?:[^"]|"")+"|[^".]+')
_LONGEST_NAME = 63  # bytes of an identifier in PostgreSQL
_GUARD = "@guard"  # no class has such a name
_SEQUENCES = (list, tuple, set, frozenset, Sequence, Iterable, AbstractSet)


class SourceField(msgspec.Struct, frozen=True):
    """One field of an event: the column it takes, and the type that the value is cast to, if any.

    Where the table has no such column, `default`, as JSON, is written: subscribers expect the field. `takes`
    is what the field holds, with `[]` for a list of it; None: a text, or anything. The event of a row with a
    value that it cannot hold, or with a text that is not `one_of`, is skipped.
    """

    name: str
    column: str
    cast: str | None
    required: bool
    default: str | None
    takes: str | None = None
    one_of: tuple[str, ...] | None = None


class TableSource(msgspec.Struct, frozen=True):
    """One source of one channel, with the event that its rows become.

    `gone`: rows that are deleted have left the channel; `moves`: so have rows whose channel is another now.
    `place` counts the sources of one channel, table and event. Of a channel of rows, `key` has the fields by
    which a row is known, and `where` the condition under which it is shown. `union`: the channel has events
    of several types, and rows that are gone have the tag, too: two tables may have rows of one key.

    For a table that a guard depends on, `event` is "@guard", the fields are `person` and the parameter, as
    far as they are named, and what its triggers write are withdrawals.
    """

    channel: str
    prefix: str
    parameter: str | None
    table: str
    on: tuple[str, ...]
    event: str
    tag_field: str | None
    tag: str | None
    fields: tuple[SourceField, ...]
    parameter_type: str | None = None
    gone: bool = False
    moves: bool = False
    place: int = 0
    # Left out where there is none: the triggers of other sources have the names that they had before.
    key: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    where: str | msgspec.UnsetType = msgspec.UNSET
    union: bool | msgspec.UnsetType = msgspec.UNSET

    @property
    def is_of_guard(self) -> bool:
        """Whether a guard depends on the table; its rows become no events."""
        return self.event == _GUARD


def table_sources(channels: Channels) -> list[TableSource]:
    """Return the table sources of all channels, then the tables that guards depend on.

    Raises:
        DeclarationError: a table's name that cannot be one, or a field's name that PostgreSQL would cut.
    """
    sources = [
        _table_source(declaration, source)
        for declaration in channels
        for source in declaration.sources
        if isinstance(source, Table)
    ]
    return sources + [
        _dependency(declaration, place)
        for declaration in channels
        for place in range(len(declaration.depends_on))
    ]


def quoted(name: str) -> str:
    """Return the quoted form of a table's name; parts are taken as they are, `App.Runs` is `"App"."Runs"`."""
    parts = _IDENTIFIER.findall(name)
    if not 1 <= len(parts) <= 3 or ".".join(parts) != name:
        raise DeclarationError(
            f'Table({name!r}): a table\'s name has the form runs, app.runs or "App"."Runs"'
        )
    return ".".join(part if part.startswith('"') else f'"{part}"' for part in parts)


def _table_source(declaration: Declaration, source: Table) -> TableSource:
    payload = declaration.payload
    alike = [one for one in declaration.sources if isinstance(one, Table) and _plain(one) == _plain(source)]
    first = next(one for one in alike if "update" in one.on) if "update" in source.on else None
    moves = first is not None and (
        first is source or _parted(declaration, first) != _parted(declaration, source)
    )
    member = source.event or payload.members[0]
    tag = payload.tags.get(member)
    fields = [field for field in payload.fields(member) if tag is None or field.name != tag.field]
    return TableSource(
        channel=declaration.name,
        prefix=declaration.prefix,
        parameter=declaration.parameter.name if declaration.parameter else None,
        table=quoted(source.name),
        on=source.on,
        event=member.__name__,
        tag_field=tag.field if tag else None,
        tag=tag.value if tag else None,
        fields=tuple(_source_field(declaration, source, field) for field in fields),
        parameter_type=declaration.parameter.type.__name__.lower() if declaration.parameter else None,
        gone=moves and not any("delete" in one.on for one in alike),
        moves=moves,
        place=[one for one in alike if (one.event or payload.members[0]) is member].index(source),
        key=source.key if isinstance(source, Rows) else msgspec.UNSET,
        where=source.where or msgspec.UNSET if isinstance(source, Rows) else msgspec.UNSET,
        union=len(payload.members) > 1 or msgspec.UNSET,
    )


def _dependency(declaration: Declaration, place: int) -> TableSource:
    table, parameter = declaration.depends_on[place], declaration.parameter
    named = parameter is not None and parameter.name in table.columns
    names = [name for name in (PERSON, parameter.name if parameter else "") if name in table.columns]
    return TableSource(
        channel=declaration.name,
        prefix=declaration.prefix,
        parameter=parameter.name if parameter and named else None,
        table=quoted(table.name),
        # An update or a delete may end a right, whatever `on` names.
        on=("insert", "update", "delete") if "insert" in table.on else ("update", "delete"),
        event=_GUARD,
        tag_field=None,
        tag=None,
        fields=tuple(SourceField(name, table.columns[name], "text", True, None) for name in names),
        parameter_type=parameter.type.__name__.lower() if parameter and named else None,
        place=[quoted(one.name) for one in declaration.depends_on[:place]].count(quoted(table.name)),
    )


def _plain(source: Table) -> str:
    """Return the name of a source's table without its schema."""
    return quoted(source.name).rpartition('."')[2].strip('"')


def _parted(declaration: Declaration, source: Table) -> str | None:
    """Return the column that names the channel of a row."""
    parameter = declaration.parameter
    return None if parameter is None else source.columns.get(parameter.name, parameter.name)


def _source_field(declaration: Declaration, source: Table, field: EventField) -> SourceField:
    if len(field.name.encode()) > _LONGEST_NAME:
        raise DeclarationError(
            f"{declaration.name}: PostgreSQL cuts the name {field.name} to {_LONGEST_NAME} bytes"
        )
    needed = declaration.parameter is not None and declaration.parameter.name == field.name
    column = source.columns.get(field.name, field.name)
    named = needed or field.name in source.columns
    default = None if named else field.default
    takes, one_of = _taken(field.annotation)
    return SourceField(
        name=field.name,
        column=column,
        cast=_cast(field.annotation),
        required=named or default is None,
        default=default,
        takes=takes,
        one_of=one_of,
    )


_TAKES: dict[object, str] = {
    Decimal: "decimal",
    float: "number",
    int: "integer",
    bool: "boolean",
    datetime: "datetime",
    date: "date",
    time: "time",
    timedelta: "duration",
    UUID: "uuid",
}


def _taken(annotation: object) -> tuple[str | None, tuple[str, ...] | None]:
    """Return what a field holds, and the texts to which it is limited."""
    alternatives = _alternatives(annotation)
    if alternatives and all(get_origin(one) is Literal for one in alternatives):
        return None, _texts([value for one in alternatives for value in get_args(one)])
    if len(alternatives) != 1:
        return None, None
    (one,) = alternatives
    if isinstance(one, type) and issubclass(one, Enum):
        return None, _texts([member.value for member in one])
    if get_origin(one) in _SEQUENCES:
        items = {item for item in get_args(one) if item is not Ellipsis}
        inner = _taken(items.pop())[0] if len(items) == 1 else None
        return None if inner is None or inner.endswith("[]") else f"{inner}[]", None
    return (_TAKES.get(one), None) if isinstance(one, type) else (None, None)


def _texts(values: Sequence[object]) -> tuple[str, ...] | None:
    texts = [value for value in values if isinstance(value, str)]
    return tuple(texts) if len(texts) == len([value for value in values if value is not None]) else None


def _cast(annotation: object) -> str | None:
    alternatives = _alternatives(annotation)
    if alternatives and all(map(_is_text, alternatives)):
        return "text"
    if len(alternatives) == 1 and get_origin(alternatives[0]) in _SEQUENCES:
        items = [item for item in get_args(alternatives[0]) if item is not Ellipsis]
        return "text[]" if items and all(_cast(item) == "text" for item in items) else None
    return None


def _alternatives(annotation: object) -> list[object]:
    """Return what a value may be besides null."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _alternatives(get_args(annotation)[0])
    if isinstance(annotation, NewType):
        return _alternatives(cast(Any, annotation).__supertype__)
    if origin is Union or isinstance(annotation, UnionType):
        return [inner for member in get_args(annotation) for inner in _alternatives(member)]
    return [] if annotation in (None, NoneType, msgspec.UnsetType) else [annotation]


def _is_text(annotation: object) -> bool:
    # Decimal, which has any number of digits, too: both msgspec and Pydantic write it as text.
    return annotation is str or annotation is Decimal
