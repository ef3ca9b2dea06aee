"""Schemas: JSON Schema (2020-12) of msgspec types as they are encoded, which is stricter than for decoding.

`msgspec.json.schema` describes what a decoder accepts: there a field with a default may be absent. An encoder
always writes it, so readers of events can rely on it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeAlias, cast, get_args, get_origin, get_type_hints

import msgspec
import msgspec.inspect as mi

from flowcraft.errors import DeclarationError

JsonSchema: TypeAlias = dict[str, Any]
Definitions: TypeAlias = dict[str, JsonSchema]

_SCALARS: Mapping[type[mi.Type], JsonSchema] = {
    mi.AnyType: {},
    mi.RawType: {},
    mi.NoneType: {"type": "null"},
    mi.BoolType: {"type": "boolean"},
    mi.IntType: {"type": "integer"},
    mi.FloatType: {"type": "number"},
    mi.StrType: {"type": "string"},
    mi.BytesType: {"type": "string", "contentEncoding": "base64"},
    mi.ByteArrayType: {"type": "string", "contentEncoding": "base64"},
    mi.MemoryViewType: {"type": "string", "contentEncoding": "base64"},
    mi.DateTimeType: {"type": "string", "format": "date-time"},
    mi.DateType: {"type": "string", "format": "date"},
    mi.TimeType: {"type": "string", "format": "time"},
    mi.TimeDeltaType: {"type": "string", "format": "duration"},
    mi.UUIDType: {"type": "string", "format": "uuid"},
    mi.DecimalType: {"type": "string", "format": "decimal"},
}
_NUMBER_LIMITS: Mapping[str, str] = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
}
_LIMITS: Mapping[type[mi.Type], Mapping[str, str]] = {
    mi.IntType: _NUMBER_LIMITS,
    mi.FloatType: _NUMBER_LIMITS,
    mi.StrType: {"min_length": "minLength", "max_length": "maxLength", "pattern": "pattern"},
    mi.CollectionType: {"min_length": "minItems", "max_length": "maxItems"},
    mi.DictType: {"min_length": "minProperties", "max_length": "maxProperties"},
}

_PROSE = {"title", "description", "default", "examples", "deprecated"}
_NAMED_SCHEMAS = {"properties", "$defs", "patternProperties"}
_LISTED_SCHEMAS = {"anyOf", "oneOf", "allOf", "prefixItems"}
_VALUES = {"const", "enum", "discriminator"}

_Named: TypeAlias = mi.StructType | mi.DataclassType | mi.TypedDictType | mi.NamedTupleType | mi.EnumType


def written_schema(member: type) -> tuple[JsonSchema, Definitions]:
    """Return a reference to the schema of a struct or dataclass, and the definitions that it needs.

    Raises:
        DeclarationError: a type has no schema, or two types have one name.
    """
    writer = _SchemaWriter()
    return writer.describe(mi.type_info(member)), writer.definitions


def shape(schema: JsonSchema) -> JsonSchema:
    """Return the part of a schema that clients depend on, without descriptions and defaults."""
    return {
        keyword: _inner_shape(keyword, value) for keyword, value in schema.items() if keyword not in _PROSE
    }


def docstring(cls: type) -> str | None:
    """Return a class's own docstring; None for one that dataclass, NamedTuple or Enum generated."""
    text = inspect.cleandoc(cls.__dict__.get("__doc__") or "")
    generated = text.startswith(f"{cls.__name__}(") and text.endswith(")")
    return None if generated or text == "An enumeration." else text or None


class _SchemaWriter:
    def __init__(self) -> None:
        self.definitions: Definitions = {}
        self._owners: dict[str, object] = {}

    def describe(self, t: mi.Type) -> JsonSchema:
        match t:
            case mi.Metadata():
                return {**self.describe(t.type), **_extra(t)}
            case mi.LiteralType():
                return {"enum": list(t.values)}
            case mi.UnionType():
                return {"anyOf": [self.describe(alternative) for alternative in t.types]}
            case mi.TupleType() | mi.CollectionType() | mi.DictType():
                return self._container(t)
            case (
                mi.StructType()
                | mi.DataclassType()
                | mi.TypedDictType()
                | mi.NamedTupleType()
                | mi.EnumType()
            ):
                return self._reference(t)
            case mi.CustomType(cls=cls) if cls is object:
                return {}
            case _ if type(t) in _SCALARS:
                return {**_SCALARS[type(t)], **_limits(t)}
            case _:
                raise DeclarationError(f"JSON cannot carry {getattr(t, 'cls', t)!r}")

    def _container(self, t: mi.TupleType | mi.CollectionType | mi.DictType) -> JsonSchema:
        if isinstance(t, mi.TupleType):
            return _tuple([self.describe(item) for item in t.item_types])
        if isinstance(t, mi.DictType):
            return {"type": "object", "additionalProperties": self.describe(t.value_type), **_limits(t)}
        unique = {"uniqueItems": True} if isinstance(t, mi.SetType | mi.FrozenSetType) else {}
        return {"type": "array", "items": self.describe(t.item_type), **unique, **_limits(t)}

    def _reference(self, t: _Named) -> JsonSchema:
        name = _name(t.cls)
        owner = self._owners.setdefault(name, t.cls)
        if owner != t.cls:
            raise DeclarationError(
                f"two different types are called {name}: {owner} and {t.cls}; rename one of them"
            )
        if name not in self.definitions:
            self.definitions[name] = {}  # a recursive type finds this placeholder
            doc = docstring(cast(type, get_origin(t.cls) or t.cls))
            self.definitions[name] |= {**({"description": doc} if doc else {}), **self._definition(t)}
        return {"$ref": f"#/$defs/{name}"}

    def _definition(self, t: _Named) -> JsonSchema:
        if isinstance(t, mi.EnumType):
            return {"enum": [member.value for member in t.cls]}
        properties = {field.encode_name: self.describe(field.type) for field in t.fields}
        if isinstance(t, mi.StructType) and t.tag_field is not None:
            properties = {t.tag_field: {"const": t.tag}, **properties}
        if isinstance(t, mi.NamedTupleType) or (isinstance(t, mi.StructType) and t.array_like):
            return _tuple(list(properties.values()))
        optional = _optional(t)
        return {
            "type": "object",
            "properties": properties,
            "required": [name for name in properties if name not in optional],
        }


def _tuple(items: list[JsonSchema]) -> JsonSchema:
    size = {"minItems": len(items), "maxItems": len(items)}
    return {"type": "array", **({"prefixItems": items} if items else {}), "items": False, **size}


def _optional(t: mi.StructType | mi.DataclassType | mi.TypedDictType) -> frozenset[str]:
    """Return the fields that the encoder may omit."""
    cls = cast(type, get_origin(t.cls) or t.cls)
    if isinstance(t, mi.TypedDictType):
        return frozenset(field.encode_name for field in t.fields if not field.required)
    omits = isinstance(t, mi.StructType) and cast(type[msgspec.Struct], cls).__struct_config__.omit_defaults
    hints = get_type_hints(cls, include_extras=True)
    return frozenset(
        field.encode_name
        for field in t.fields
        if (omits and not field.required) or msgspec.UnsetType in _alternatives(hints[field.name])
    )


def _alternatives(annotation: object) -> Iterable[object]:
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    return get_args(annotation)


def _extra(t: mi.Metadata) -> JsonSchema:
    return cast(JsonSchema, getattr(t, "extra_json_schema", None) or {})


def _limits(t: mi.Type) -> JsonSchema:
    return {
        keyword: getattr(t, attribute)
        for kind, keywords in _LIMITS.items()
        if isinstance(t, kind)
        for attribute, keyword in keywords.items()
        if getattr(t, attribute) is not None
    }


def _name(cls: object) -> str:
    """Return the name of a class; a generic one has its arguments: `Page[int]` is `PageInt`."""
    origin = get_origin(cls)
    if origin is None:
        return cast(type, cls).__name__
    arguments = (a.__name__ if isinstance(a, type) and not get_args(a) else repr(a) for a in get_args(cls))
    words = re.findall(r"\w+", " ".join(arguments))
    return cast(type, origin).__name__ + "".join(word[0].upper() + word[1:] for word in words)


def _inner_shape(keyword: str, value: object) -> object:
    if keyword in _NAMED_SCHEMAS:
        return {name: shape(inner) for name, inner in cast(dict[str, JsonSchema], value).items()}
    if keyword in _LISTED_SCHEMAS:
        return [shape(inner) for inner in cast(list[JsonSchema], value)]
    if keyword == "required":
        return sorted(cast(list[str], value))
    if keyword not in _VALUES and isinstance(value, dict):
        return shape(cast(JsonSchema, value))
    return value
