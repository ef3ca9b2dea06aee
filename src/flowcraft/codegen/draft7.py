"""Draft 7: convert JSON Schema 2020-12 to draft 7, which AsyncAPI tools read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from flowcraft.events import JsonSchema

_NAMED_SCHEMAS = frozenset({"properties", "patternProperties"})
_LISTED_SCHEMAS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_VALUES = frozenset({"const", "default", "enum", "examples"})
# Pydantic writes OpenAPI's `discriminator`, which has another meaning in AsyncAPI; the tags carry the same.
_LEFT_OUT = frozenset({"discriminator"})


def as_draft7(schema: JsonSchema, place_of: Callable[[str], str]) -> JsonSchema:
    """Return a schema that accepts the same values; `place_of` returns the new location of a definition."""
    written = {
        keyword: _inner(keyword, value, place_of)
        for keyword, value in schema.items()
        if keyword not in _LEFT_OUT
    }
    if "prefixItems" in written:
        rest = written.pop("items", True)
        written |= {"items": written.pop("prefixItems"), "additionalItems": rest}
    reference = written.pop("$ref", None)
    if reference is None:
        return written
    target = {"$ref": place_of(cast(str, reference).rpartition("/")[2])}
    # Draft 7 ignores keywords beside a reference.
    return {"allOf": [target], **written} if written else target


def _inner(keyword: str, value: object, place_of: Callable[[str], str]) -> object:
    if keyword in _VALUES:
        return value
    if keyword in _NAMED_SCHEMAS:
        named = cast(Mapping[str, object], value).items()
        return {name: _schema(inner, place_of) for name, inner in named}
    if keyword in _LISTED_SCHEMAS:
        return [_schema(inner, place_of) for inner in cast(list[object], value)]
    return _schema(value, place_of)


def _schema(value: object, place_of: Callable[[str], str]) -> object:
    return as_draft7(cast(JsonSchema, value), place_of) if isinstance(value, dict) else value
