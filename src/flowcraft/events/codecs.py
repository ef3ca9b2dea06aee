"""Codecs: encode, decode and describe one event type: a struct, a dataclass or a Pydantic model."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast, get_origin, get_type_hints

import msgspec

from flowcraft.errors import DeclarationError
from flowcraft.events.schemas import Definitions, JsonSchema, written_schema

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo


@dataclasses.dataclass(frozen=True, slots=True)
class EventField:
    """One field of an event's JSON.

    `default` is the JSON of its default value, if every call returns the same.
    """

    name: str
    annotation: object
    has_default: bool
    default: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Codec:
    """The functions and the schema of one event type. `encode` does not validate, `decode` does."""

    encode: Callable[[object], bytes]
    decode: Callable[[bytes], object]
    schema: JsonSchema
    definitions: Definitions
    fields: tuple[EventField, ...]


def is_event_type(candidate: type) -> bool:
    """Return whether a class can be an event type."""
    known = _is_pydantic(candidate) or issubclass(candidate, msgspec.Struct)
    return known or dataclasses.is_dataclass(cast(object, candidate))


def codec(member: type) -> Codec:
    """Return the codec of a class.

    Raises:
        DeclarationError: its JSON is not an object, or JSON cannot represent a field.
    """
    try:
        made = _pydantic_codec(cast(Any, member)) if _is_pydantic(member) else _msgspec_codec(member)
    except (TypeError, NameError, ValueError) as error:
        raise DeclarationError(f"{member.__name__} cannot be an event: {reason(error)}") from error
    if made.definitions[made.schema["$ref"].rpartition("/")[2]].get("type") != "object":
        raise DeclarationError(f"{member.__name__} cannot be an event: its JSON is not an object with fields")
    return made


def reason(error: Exception) -> str:
    """Return an error's message on one line, without the values that Pydantic adds."""
    details: Any = getattr(error, "errors", None)
    if callable(details):
        found = cast(list[dict[str, Any]], details())
        return "; ".join(f"{e['msg']} - at `{'.'.join(map(str, ('$', *e['loc'])))}`" for e in found)[:400]
    text = re.sub(r"input_value=.*, (?=input_type=)", "", str(error), flags=re.DOTALL)
    return " ".join(text.split())[:400]


def _msgspec_codec(member: type) -> Codec:
    decoder: msgspec.json.Decoder[object] = msgspec.json.Decoder(member)
    schema, definitions = written_schema(member)
    info = msgspec.inspect.type_info(member)
    assert isinstance(info, msgspec.inspect.StructType | msgspec.inspect.DataclassType)
    hints = get_type_hints(member, include_extras=True)
    fields = tuple(EventField(f.encode_name, hints[f.name], not f.required, _default(f)) for f in info.fields)
    return Codec(msgspec.json.encode, decoder.decode, schema, definitions, fields)


def _default(field: msgspec.inspect.Field) -> str | None:
    value: object = field.default
    if value is msgspec.NODEFAULT and _makes_the_same(field.default_factory):
        value = field.default_factory()
    return None if value is msgspec.NODEFAULT else msgspec.json.encode(value).decode()


def _makes_the_same(factory: object) -> bool:
    """Return whether a factory's values are always equal (an empty collection), unlike a time or a new id."""
    return (get_origin(factory) or factory) in (list, dict, set, frozenset, tuple)


def _is_pydantic(candidate: type) -> bool:
    # By attributes and not by import: Pydantic is optional. Its dataclasses have them too.
    return hasattr(candidate, "__pydantic_fields__") and hasattr(candidate, "__pydantic_serializer__")


def _pydantic_codec(model: type[BaseModel]) -> Codec:
    from pydantic import TypeAdapter
    from pydantic.json_schema import GenerateJsonSchema

    class AsWritten(GenerateJsonSchema):
        def field_is_required(self, field: Any, total: bool) -> bool:  # noqa: ANN401  # Pydantic's signature
            # A field that is always serialized is required for the reader, even with a default.
            if field["type"] == "typed-dict-field":
                return super().field_is_required(field, total)
            return field.get("serialization_exclude_if") is None

    adapter: TypeAdapter[object] = TypeAdapter(model)
    references, document = TypeAdapter.json_schemas(
        [("event", "serialization", adapter)], by_alias=True, schema_generator=AsWritten
    )
    definitions: Definitions = document["$defs"]
    _refuse_two_types_of_one_name(definitions)
    return Codec(
        encode=lambda event: adapter.dump_json(event, by_alias=True, warnings="error"),
        decode=adapter.validate_json,
        schema=references["event", "serialization"],
        definitions=definitions,
        fields=tuple(_pydantic_fields(model)),
    )


def _refuse_two_types_of_one_name(definitions: Definitions) -> None:
    # Pydantic distinguishes them by the path of their modules: `billing__models__Step`.
    seen: dict[str, str] = {}
    for name in definitions:
        short = name.rpartition("__")[2]
        if seen.setdefault(short, name) != name:
            raise DeclarationError(
                f"two different types are called {short}: {seen[short]} and {name}; rename one of them"
            )


def _pydantic_fields(model: type[BaseModel]) -> Iterator[EventField]:
    for name, info in model.__pydantic_fields__.items():
        if info.exclude:
            continue
        written = info.serialization_alias or info.alias or name
        if written not in _readable_names(model, name, info):
            raise DeclarationError(
                f"field {name!r} is serialized as {written!r} but not validated under that name; use "
                f"alias={written!r}"
            )
        yield EventField(written, info.annotation, not info.is_required(), _pydantic_default(info))


def _pydantic_default(info: FieldInfo) -> str | None:
    from pydantic_core import to_json

    if info.is_required() or (info.default_factory is not None and not _makes_the_same(info.default_factory)):
        return None
    return to_json(info.get_default(call_default_factory=True, validated_data={}), by_alias=True).decode()


def _readable_names(model: type[BaseModel], name: str, info: FieldInfo) -> set[object]:
    alias = info.validation_alias or info.alias
    names: set[object] = set(getattr(alias, "choices", ()))
    names.add(name if alias is None else str(alias))
    config = getattr(model, "model_config", None) or getattr(model, "__pydantic_config__", {})
    if config.get("populate_by_name") or config.get("validate_by_name"):
        names.add(name)
    return names
