"""TypeScript types from JSON Schema 2020-12, for the keywords that describe serialized data."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from flowcraft.codegen.typescript_text import (
    RESERVED,
    indented,
    is_identifier,
    jsdoc,
    literal,
    property_key,
)
from flowcraft.errors import DeclarationError
from flowcraft.events import JsonSchema

_TAKEN = frozenset({"Channels"})  # the generated file's own


def type_name(definition: str) -> str:
    """Return the TypeScript name of a definition: its own, or `PageInt` for `Page[int]`.

    Raises:
        DeclarationError: the name is reserved.
    """
    words = re.findall(r"[\w$]+", definition)
    name = definition if is_identifier(definition) else "".join(word[0].upper() + word[1:] for word in words)
    if name in RESERVED or name in _TAKEN or not is_identifier(name):
        raise DeclarationError(
            f"a type cannot be called {name} in the generated TypeScript; rename the class"
        )
    return name


def declare_type(name: str, schema: JsonSchema) -> str:
    """Return the statement that declares a named type."""
    return f"{jsdoc(_remarks(schema))}export type {name} = {type_expression(schema)};"


def type_expression(schema: object) -> str:
    """Return the type of the values that a schema describes. An unspecified part is `unknown`."""
    return _of(schema).text


@dataclass(frozen=True, slots=True)
class _Type:
    """The text of a type. A `loose` one needs parentheses inside another type."""

    text: str
    loose: bool = False

    @property
    def tight(self) -> str:
        return f"({self.text})" if self.loose else self.text


_UNKNOWN = _Type("unknown")
_NEVER = _Type("never")


def _of(schema: object) -> _Type:
    if not isinstance(schema, dict):
        return _NEVER if schema is False else _UNKNOWN
    known = cast(JsonSchema, schema)
    for keyword, write in _BY_KEYWORD.items():
        if keyword in known:
            return write(known)
    return _UNKNOWN


def _reference(schema: JsonSchema) -> _Type:
    return _Type(type_name(cast(str, schema["$ref"]).rpartition("/")[2]))


def _alternatives(schema: JsonSchema) -> _Type:
    return _union(_of(inner) for inner in [*schema.get("anyOf", ()), *schema.get("oneOf", ())])


def _intersection(schema: JsonSchema) -> _Type:
    parts = list(dict.fromkeys(_of(inner) for inner in schema["allOf"]))
    return parts[0] if len(parts) == 1 else _Type(" & ".join(part.tight for part in parts), loose=True)


def _union(types: Iterable[_Type]) -> _Type:
    unique = [t for t in dict.fromkeys(types) if t != _NEVER]
    if _UNKNOWN in unique:
        return _UNKNOWN
    if len(unique) <= 1:
        return unique[0] if unique else _NEVER
    return _Type(" | ".join(t.text if " & " not in t.text else t.tight for t in unique), loose=True)


def _typed(schema: JsonSchema) -> _Type:
    names = cast(list[str], schema["type"] if isinstance(schema["type"], list) else [schema["type"]])
    return _union(_BY_TYPE[name](schema) if name in _BY_TYPE else _UNKNOWN for name in names)


def _array(schema: JsonSchema) -> _Type:
    prefix: list[object] = schema.get("prefixItems", [])
    rest = schema.get("items", True)
    if not prefix and rest is not False:
        return _Type(f"readonly {_of(rest).tight}[]", loose=True)
    required = cast(int, schema.get("minItems", 0))
    items = [_of(item).tight + ("" if index < required else "?") for index, item in enumerate(prefix)]
    if rest is not False and schema.get("maxItems") != len(prefix):
        items.append(f"...{_of(rest).tight}[]")
    return _Type(f"readonly [{', '.join(items)}]", loose=True)


def _object(schema: JsonSchema) -> _Type:
    extra: object = schema.get("additionalProperties", "properties" not in schema)
    properties: Mapping[str, object] = schema.get("properties", {})
    members = [
        _property(name, inner, name in schema.get("required", ())) for name, inner in properties.items()
    ]
    if not properties:
        return _Type(f"{{ readonly [key: string]: {_of(extra).text} }}")
    if extra is not False:
        # TypeScript requires an index signature that covers the declared properties too.
        members.append("readonly [key: string]: unknown;")
    return _Type("\n".join(["{", *map(indented, members), "}"]))


def _property(name: str, schema: object, required: bool) -> str:
    mark = "" if required else "?"
    return f"{jsdoc(_remarks(schema))}readonly {property_key(name)}{mark}: {_of(schema).text};"


_BY_TYPE: Mapping[str, Callable[[JsonSchema], _Type]] = {
    "object": _object,
    "array": _array,
    "string": lambda _: _Type("string"),
    "integer": lambda _: _Type("number"),
    "number": lambda _: _Type("number"),
    "boolean": lambda _: _Type("boolean"),
    "null": lambda _: _Type("null"),
}
# The first keyword present in a schema decides.
_BY_KEYWORD: Mapping[str, Callable[[JsonSchema], _Type]] = {
    "$ref": _reference,
    "const": lambda schema: _Type(literal(schema["const"])),
    "enum": lambda schema: _union(_Type(literal(value)) for value in schema["enum"]),
    "anyOf": _alternatives,
    "oneOf": _alternatives,
    "allOf": _intersection,
    "type": _typed,
    "properties": _object,
    "items": _array,
    "prefixItems": _array,
}


def _remarks(schema: object) -> list[str]:
    """Return the lines of a comment: description, formats, deprecation."""
    if not isinstance(schema, dict):
        return []
    known = cast(JsonSchema, schema)
    description = str(known.get("description", "")).strip()
    formats = dict.fromkeys(_formats(known))
    deprecated = ["@deprecated"] if known.get("deprecated") else []
    return [*(description.splitlines()), *(f"@format {name}" for name in formats), *deprecated]


def _formats(schema: object) -> Iterator[str]:
    if not isinstance(schema, dict):
        return
    known = cast(JsonSchema, schema)
    for keyword in ("format", "contentEncoding"):
        if keyword in known:
            yield str(known[keyword])
    for keyword in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for inner in known.get(keyword, ()):
            yield from _formats(inner)
    for keyword in ("items", "additionalProperties"):
        yield from _formats(known.get(keyword))
