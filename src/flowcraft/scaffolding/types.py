"""Types: the Python type of a column, and the imports that an annotation needs."""

from __future__ import annotations

import ast
import builtins
import json
from collections.abc import Iterable, Mapping

from flowcraft.scaffolding.edits import ScaffoldingRefused
from flowcraft.scaffolding.python_text import imported_names
from flowcraft.scaffolding.request import Field

OFFERED = (
    "str, int, float, bool, UUID, datetime, date, time, timedelta, Decimal, bytes, Int64, "
    "Literal[…], list[…], … | None"
)

_OF_COLUMN: Mapping[str, str] = {
    "bool": "bool",
    "int2": "int",
    "int4": "int",
    "int8": "Int64",  # a JavaScript number is exact only up to 2^53
    "oid": "int",
    "float4": "float",
    "float8": "float",
    "numeric": "Decimal",
    "uuid": "UUID",
    "timestamptz": "datetime",
    "timestamp": "datetime",
    "date": "date",
    "time": "time",
    "timetz": "time",
    "interval": "timedelta",
    "json": "object",
    "jsonb": "object",
    "bytea": "bytes",
}
_TEXTS = {"text", "varchar", "bpchar", "name", "citext", "char"}
_IMPORTS: Mapping[str, str] = {
    "Annotated": "typing",
    "Any": "typing",
    "Literal": "typing",
    "UUID": "uuid",
    "datetime": "datetime",
    "date": "datetime",
    "time": "datetime",
    "timedelta": "datetime",
    "Decimal": "decimal",
    "Int64": "flowcraft",
}


def type_of_column(type_name: str, labels: Iterable[str], *, is_array: bool, required: bool) -> str:
    """Return the annotation of a column; an enum's is a `Literal`."""
    known = [json.dumps(label, ensure_ascii=False) for label in labels]
    annotation = f"Literal[{', '.join(known)}]" if known else _OF_COLUMN.get(type_name, "str")
    annotation = f"list[{annotation}]" if is_array else annotation
    return annotation if required else f"{annotation} | None"


def is_known(type_name: str) -> bool:
    """Return whether a column's type has a sample value; other types are read as text."""
    return type_name in _OF_COLUMN or type_name in _TEXTS


def imports_of(fields: Iterable[Field], known: Iterable[str]) -> dict[str, set[str]]:
    """Return the imports that the annotations of fields need, by module, without the `known` names.

    Raises:
        ScaffoldingRefused: an annotation is malformed, or names an unknown type.
    """
    wanted: dict[str, set[str]] = {}
    for field in fields:
        for name in _names(field):
            if name in _IMPORTS:
                wanted.setdefault(_IMPORTS[name], set()).add(name)
            elif name not in set(known) and not isinstance(getattr(builtins, name, None), type):
                raise ScaffoldingRefused(
                    f"{field.name}: unknown type {name}; define it in the events module first, "
                    f"or use one of {OFFERED}"
                )
    return wanted


def same_type(one: str, other: str) -> bool:
    """Return whether two annotations are equal, except for spaces and quotes."""
    return ast.dump(ast.parse(one, mode="eval")) == ast.dump(ast.parse(other, mode="eval"))


def _names(field: Field) -> set[str]:
    if not field.name.isidentifier():
        raise ScaffoldingRefused(f"{field.name!r} is not a valid field name; use --field NAME:TYPE")
    try:
        return imported_names(field.annotation)
    except SyntaxError:
        raise ScaffoldingRefused(
            f"{field.name}: {field.annotation!r} is not a type; use one of {OFFERED}"
        ) from None
