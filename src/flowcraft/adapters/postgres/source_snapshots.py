"""Source snapshots: a declared source in plain values, as a migration file holds it.

A migration must do tomorrow what it does today, so it holds what was declared when it was written, and not
the channels. Defaults are left out: a field whose column has the same name is only that name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

import msgspec

from flowcraft.adapters.postgres.triggers import SourceField, TableSource, quoted
from flowcraft.errors import DeclarationError

_SIMPLE = re.compile(r'"[a-z_][a-z0-9_]*"(\."[a-z_][a-z0-9_]*"){0,2}')


class _Field(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    name: str
    column: str | None = None
    cast: str | None = None
    required: bool = True
    default: str | None = None
    takes: str | None = None
    one_of: tuple[str, ...] | None = None


class _Source(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    channel: str
    table: str
    event: str
    on: tuple[str, ...] = ("insert", "update")
    parameter: str | None = None
    tag_field: str | None = None
    tag: str | None = None
    parameter_type: str | None = None
    gone: bool = False
    moves: bool = False
    place: int = 0
    key: tuple[str, ...] | None = None
    where: str | None = None
    union: bool = False
    fields: tuple[str | _Field, ...]


def frozen(source: TableSource) -> dict[str, object]:
    """Return a source in plain values."""
    simple = _SIMPLE.fullmatch(source.table) is not None
    kept = _Source(
        channel=source.channel,
        table=source.table.replace('"', "") if simple else source.table,
        event=source.event,
        on=source.on,
        parameter=source.parameter,
        tag_field=source.tag_field,
        tag=source.tag,
        parameter_type=source.parameter_type,
        gone=source.gone,
        moves=source.moves,
        place=source.place,
        key=None if source.key is msgspec.UNSET else source.key,
        where=None if source.where is msgspec.UNSET else source.where,
        union=source.union is True,
        fields=tuple(map(_frozen_field, source.fields)),
    )
    return _listed(cast(dict[str, object], msgspec.to_builtins(kept)))


def thawed(values: Mapping[str, object]) -> TableSource:
    """Return the source that plain values describe.

    Raises:
        DeclarationError: they are not what `frozen` returns.
    """
    try:
        kept = msgspec.convert(dict(values), _Source, strict=False)
    except msgspec.ValidationError as error:
        raise DeclarationError(
            f"triggers in a migration: {error}; generate the migration again, see docs/guides/migrations.md"
        ) from None
    return TableSource(
        channel=kept.channel,
        prefix=kept.channel.partition(".")[0],
        parameter=kept.parameter,
        table=quoted(kept.table),
        on=kept.on,
        event=kept.event,
        tag_field=kept.tag_field,
        tag=kept.tag,
        parameter_type=kept.parameter_type,
        gone=kept.gone,
        moves=kept.moves,
        place=kept.place,
        key=msgspec.UNSET if kept.key is None else kept.key,
        where=msgspec.UNSET if kept.where is None else kept.where,
        union=kept.union or msgspec.UNSET,
        fields=tuple(map(_thawed_field, kept.fields)),
    )


def _frozen_field(field: SourceField) -> str | _Field:
    column = None if field.column == field.name else field.column
    kept = msgspec.convert({**msgspec.structs.asdict(field), "column": column}, _Field)
    return field.name if kept == _Field(name=field.name) else kept


def _thawed_field(kept: str | _Field) -> SourceField:
    field = _Field(name=kept) if isinstance(kept, str) else kept
    return msgspec.convert(
        {**msgspec.structs.asdict(field), "column": field.column or field.name}, SourceField
    )


def _listed(values: dict[str, object]) -> dict[str, object]:
    # Lists read better than tuples in a file, where one item would need its comma.
    return {
        key: list(cast(tuple[object, ...], value)) if isinstance(value, tuple) else value
        for key, value in values.items()
    }
