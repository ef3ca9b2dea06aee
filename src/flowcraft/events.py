"""Events: the typed facts a service states, and how they become JSON."""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeAlias, Union, cast, dataclass_transform, get_args, get_origin

import msgspec

from flowcraft.errors import DeclarationError, PayloadInvalid

Int64 = Annotated[str, msgspec.Meta(pattern=r"^-?\d{1,19}$", description="a 64-bit integer, in decimal")]
"""A 64-bit integer that travels as text: JavaScript's numbers are exact up to 2^53 only."""

JsonSchema: TypeAlias = dict[str, Any]
MAX_PAYLOAD_BYTES = 256 * 1024
_LARGEST_EXACT = 2**53
_LONG_NUMBER = re.compile(rb"\d{16}")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class _EventMeta(type(msgspec.Struct)):  # type: ignore[misc]  # the metaclass has no public name
    """msgspec's metaclass, told to type checkers with this project's defaults."""


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="type", metaclass=_EventMeta):
    """A fact about the domain: frozen, keyword-only, validated when it is broadcast.

    Subclasses are structs of msgspec. Their JSON carries the class name in `type`, so a channel can carry a union.
    """


@dataclasses.dataclass(frozen=True, slots=True)
class EventField:
    """One field of an event as it stands in JSON."""

    name: str
    annotation: object
    has_default: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Tag:
    """The member that tells the alternatives of a union apart, and its value for one of them."""

    field: str
    value: str


class Payload:
    """What one channel carries: an event type, or a tagged union of them.

    Raises:
        DeclarationError: a type that cannot be an event, or a union whose members nothing tells apart.
    """

    def __init__(self, declared: object) -> None:
        self.members: tuple[type, ...] = tuple(_members(declared))
        self._codecs = {member: _codec(member) for member in self.members}
        self.tags: Mapping[type, Tag] = _tags(self.members)

    def encode(self, event: object) -> str:
        """Return the event's JSON.

        Raises:
            TypeError: the event is not of this payload's types.
            PayloadInvalid: a value does not fit its field, is not exact in JavaScript, or the JSON is over 256 KiB.
        """
        codec = self._codecs.get(type(event))
        if codec is None:
            expected = " | ".join(member.__name__ for member in self.members)
            raise TypeError(f"expected an event of type {expected}, got {type(event).__name__}")
        try:
            encoded = codec.encode(event)
            codec.decode(encoded)
        except ValueError as error:  # msgspec's and Pydantic's validation errors are both
            raise PayloadInvalid(type(event).__name__, _first_line(error)) from None
        _refuse_what_a_browser_cannot_hold(type(event).__name__, encoded)
        return encoded.decode()

    def check(self, encoded: str) -> None:
        """Verify that a JSON text from elsewhere fits one of the members.

        Raises:
            PayloadInvalid: it is not JSON, or fits none of them.
        """
        try:
            self._codecs[self._member_of(encoded)].decode(encoded.encode())
        except ValueError as error:
            raise PayloadInvalid(" | ".join(m.__name__ for m in self.members), _first_line(error)) from None

    def schema(self) -> JsonSchema:
        """Return the JSON Schema (2020-12) of the payload on the wire; alternatives are in `anyOf`."""
        definitions: dict[str, JsonSchema] = {}
        references: list[JsonSchema] = []
        for member, codec in self._codecs.items():
            reference, more = codec.schema()
            for name, definition in more.items():
                if definitions.setdefault(name, definition) != definition:
                    raise DeclarationError(f"two different types are called {name!r}; rename one of them")
            references.append(reference)
            assert member in self._codecs
        root: JsonSchema = references[0] if len(references) == 1 else {"anyOf": references}
        return {**root, "$defs": definitions}

    def fields(self, member: type) -> tuple[EventField, ...]:
        """Return the fields of one member in JSON's names, without the tag that a struct adds."""
        return tuple(_fields(member))

    def _member_of(self, encoded: str) -> type:
        if len(self.members) == 1:
            return self.members[0]
        value = msgspec.json.decode(encoded)
        for member, tag in self.tags.items():
            if isinstance(value, dict) and cast(dict[str, object], value).get(tag.field) == tag.value:
                return member
        raise ValueError(f"no member has this tag; expected one of {[tag.value for tag in self.tags.values()]}")


@dataclasses.dataclass(frozen=True, slots=True)
class _Codec:
    encode: Callable[[object], bytes]
    decode: Callable[[bytes], object]
    schema: Callable[[], tuple[JsonSchema, dict[str, JsonSchema]]]


def _members(declared: object) -> Iterator[type]:
    origin = get_origin(declared)
    if origin is Union or isinstance(declared, types.UnionType):
        for alternative in get_args(declared):
            yield from _members(alternative)
    elif origin is Annotated:
        yield from _members(get_args(declared)[0])
    elif isinstance(declared, type) and _is_event_type(declared):
        yield declared
    else:
        name = getattr(declared, "__name__", repr(declared))
        raise DeclarationError(
            f"{name} cannot be a channel's payload; use a subclass of flowcraft.Event, a Pydantic model, "
            "a dataclass, or a union of these"
        )


def _is_event_type(candidate: type) -> bool:
    return issubclass(candidate, msgspec.Struct) or dataclasses.is_dataclass(candidate) or _is_pydantic(candidate)


def _is_pydantic(candidate: type) -> bool:
    # By its shape and not by import: Pydantic is optional.
    return hasattr(candidate, "model_json_schema") and hasattr(candidate, "model_validate_json")


def _codec(member: type) -> _Codec:
    if _is_pydantic(member):
        return _pydantic_codec(cast(Any, member))
    try:
        decoder = msgspec.json.Decoder(member)
        msgspec.json.schema(member)
    except TypeError as error:
        raise DeclarationError(f"{member.__name__} has a field that JSON cannot carry: {_first_line(error)}") from None

    def schema() -> tuple[JsonSchema, dict[str, JsonSchema]]:
        (reference,), definitions = msgspec.json.schema_components([member], ref_template="#/$defs/{name}")
        return reference, definitions

    return _Codec(msgspec.json.encode, decoder.decode, schema)


def _pydantic_codec(model: Any) -> _Codec:  # noqa: ANN401  # a type of an optional dependency
    def schema() -> tuple[JsonSchema, dict[str, JsonSchema]]:
        root: JsonSchema = model.model_json_schema(by_alias=True, mode="serialization")
        definitions: dict[str, JsonSchema] = root.pop("$defs", {})
        # What is always written is always there for the reader, default or not.
        return {"$ref": f"#/$defs/{model.__name__}"}, {**definitions, model.__name__: root}

    return _Codec(
        encode=lambda event: cast(str, cast(Any, event).model_dump_json(by_alias=True)).encode(),
        decode=lambda encoded: cast(object, model.model_validate_json(encoded, by_alias=True)),
        schema=schema,
    )


def _tags(members: tuple[type, ...]) -> Mapping[type, Tag]:
    candidates = {member: _tag_candidates(member) for member in members}
    if len(members) == 1:
        return {member: tags[0] for member, tags in candidates.items() if tags}
    for tag in candidates[members[0]]:
        chosen = {m: t for m, tags in candidates.items() for t in tags if t.field == tag.field}
        if len(chosen) == len(members) == len({t.value for t in chosen.values()}):
            return chosen
    names = " | ".join(member.__name__ for member in members)
    raise DeclarationError(
        f"nothing tells the members of {names} apart; derive them from flowcraft.Event, "
        'or give each a field such as `type: Literal["run_started"] = "run_started"` with a value of its own'
    )


def _tag_candidates(member: type) -> list[Tag]:
    tags: list[Tag] = []
    if issubclass(member, msgspec.Struct):
        config = member.__struct_config__
        if config.tag_field is not None and isinstance(config.tag, str):
            tags.append(Tag(config.tag_field, config.tag))
    for field in _fields(member):
        values = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        if len(values) == 1 and isinstance(values[0], str):
            tags.append(Tag(field.name, values[0]))
    return tags


def _fields(member: type) -> Iterator[EventField]:
    if _is_pydantic(member):
        for name, info in cast(Any, member).model_fields.items():
            alias: str | None = info.serialization_alias or info.alias
            yield EventField(alias or name, info.annotation, not info.is_required())
        return
    inspected = msgspec.inspect.type_info(member)
    assert isinstance(inspected, msgspec.inspect.StructType | msgspec.inspect.DataclassType)
    hints = msgspec._utils.get_class_annotations(member)  # type: ignore[attr-defined]  # noqa: SLF001
    for field in inspected.fields:
        yield EventField(field.encode_name, hints[field.name], not field.required)


def _refuse_what_a_browser_cannot_hold(name: str, encoded: bytes) -> None:
    if len(encoded) > MAX_PAYLOAD_BYTES:
        raise PayloadInvalid(name, f"{len(encoded)} bytes of JSON; at most {MAX_PAYLOAD_BYTES} fit into one event")
    if not _LONG_NUMBER.search(encoded):
        return
    for path, value in _leaves(msgspec.json.decode(encoded), "$"):
        if isinstance(value, int) and abs(value) > _LARGEST_EXACT:
            raise PayloadInvalid(name, f"{value} is beyond 2^53; declare the field as flowcraft.Int64 - at `{path}`")


def _leaves(value: object, path: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, inner in cast(dict[str, object], value).items():
            yield from _leaves(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(cast(list[object], value)):
            yield from _leaves(inner, f"{path}[{index}]")
    else:
        yield path, value


def _first_line(error: Exception) -> str:
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip())[:400]
