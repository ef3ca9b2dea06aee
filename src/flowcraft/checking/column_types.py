"""Column types: decide whether a column's values fit a field's type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

from flowcraft.adapters.postgres.inspection import Column
from flowcraft.adapters.postgres.triggers import SourceField
from flowcraft.events import JsonSchema

_INTEGERS = frozenset({"int2", "int4", "int8"})
_JSON = frozenset({"json", "jsonb"})
_MOMENTS = frozenset({"timestamptz", "timestamp"})
_FORMATS: Mapping[str, frozenset[str]] = {
    "uuid": frozenset({"uuid"}),
    "date-time": _MOMENTS,
    "date": frozenset({"date"}),
    "time": frozenset({"time", "timetz"}),
    "duration": frozenset({"interval"}),
}
_ANYTHING = frozenset({"object", "array", "string", "integer", "number", "boolean"})


def misfit(column: Column, field: SourceField, schema: JsonSchema, definitions: JsonSchema) -> str | None:
    """Return the type that a field requires and the column does not have, or None if the column fits."""
    if field.cast == "text[]":
        return None if column.category == "A" else "array"
    if field.cast is not None or column.base in _JSON:
        return None  # every value has a text form; the contents of JSON are unknown here
    alternatives = [one for one in _alternatives(schema, definitions) if one.get("type") != "null"]
    if not alternatives or any(_fits(column, one) for one in alternatives):
        return None
    return " or ".join(dict.fromkeys(_described(one) for one in alternatives))


def takes_null(schema: JsonSchema, definitions: JsonSchema) -> bool:
    """Return whether a field may be null."""
    found = list(_alternatives(schema, definitions))
    return any("null" in _kinds(one) for one in found) or not found


def _alternatives(schema: JsonSchema, definitions: JsonSchema) -> Iterator[JsonSchema]:
    if "$ref" in schema:
        yield from _alternatives(definitions[str(schema["$ref"]).rpartition("/")[2]], definitions)
    elif "anyOf" in schema or "oneOf" in schema:
        for inner in [*schema.get("anyOf", ()), *schema.get("oneOf", ())]:
            yield from _alternatives(inner, definitions)
    else:
        yield schema


def _fits(column: Column, schema: JsonSchema) -> bool:
    given = _given(column)
    return any(
        kind == given or (kind == "number" and given == "integer") for kind in _kinds(schema)
    ) and _format_fits(column, schema)


def _format_fits(column: Column, schema: JsonSchema) -> bool:
    wanted = _FORMATS.get(str(schema.get("format")))
    # A text column may hold a UUID or a date, and often does.
    return wanted is None or column.base in wanted or column.category == "S"


def _given(column: Column) -> str:
    """Return the JSON type of the column's values."""
    if column.category == "N":
        return "integer" if column.base in _INTEGERS else "number"
    return {"B": "boolean", "A": "array", "C": "object"}.get(column.category, "string")


def _kinds(schema: JsonSchema) -> frozenset[str]:
    if "const" in schema or "enum" in schema:
        return frozenset(map(_kind_of, schema.get("enum", [schema.get("const")])))
    kind = schema.get("type")
    if kind is None:
        return _ANYTHING | {"null"}
    return frozenset(cast(list[str], kind)) if isinstance(kind, list) else frozenset({str(kind)})


def _kind_of(value: object) -> str:
    if value is None:
        return "null"
    names = {"bool": "boolean", "int": "integer", "float": "number", "str": "string"}
    return names.get(type(value).__name__, "object")


def _described(schema: JsonSchema) -> str:
    if "format" in schema:
        return str(schema["format"])
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    return " or ".join(sorted(_kinds(schema) - {"null"}))
