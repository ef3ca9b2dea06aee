"""Payloads: the event types of a channel, their JSON and their JSON Schema."""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Union, cast, get_args, get_origin

import msgspec
from typing_extensions import TypeAliasType

from flowcraft.errors import DeclarationError, PayloadInvalid
from flowcraft.events.codecs import Codec, EventField, codec, is_event_type, reason
from flowcraft.events.declared import Event
from flowcraft.events.schemas import Definitions, JsonSchema

MAX_PAYLOAD_BYTES = 256 * 1024
LARGEST_EXACT = 2**53
"""JavaScript has every integer up to this one, and not all of those beyond."""
_LONG_NUMBER = re.compile(rb"\d{16}")


@dataclass(frozen=True, slots=True)
class Tag:
    """The member that distinguishes the alternatives of a union, and its value for one of them."""

    field: str
    value: str


class Payload:
    """The payload of a channel: an event type, or a tagged union of event types.

    Raises:
        DeclarationError: a type cannot be an event, or no field distinguishes the members of a union.
    """

    def __init__(self, declared: object) -> None:
        self.members: tuple[type, ...] = tuple(dict.fromkeys(_members(declared)))
        self._codecs = {member: codec(member) for member in self.members}
        self.tags: Mapping[type, Tag] = _tags(self._codecs)
        self._schema = _joined(self._codecs)

    def encode(self, event: object) -> str:
        """Return the event's JSON.

        Raises:
            TypeError: the event is not of this payload's types.
            PayloadInvalid: a value does not fit its field, is not exact in JavaScript, or the JSON is
                over 256 KiB.
        """
        name = type(event).__name__
        found = self._codecs.get(type(event))
        if found is None:
            raise TypeError(f"expected an event of type {self}, got {name}")
        try:
            encoded = found.encode(event)
            found.decode(encoded)
        except (ValueError, TypeError, RecursionError) as error:  # validation errors are ValueErrors
            raise PayloadInvalid(name, reason(error)) from None
        _check_limits(name, encoded)
        return encoded.decode()

    def check(self, encoded: str) -> str:
        """Verify that a JSON text from elsewhere fits one of the members; return it as `encode` writes it.

        That text has the tag and every field with a default: the generated TypeScript relies on them.

        Raises:
            PayloadInvalid: the text is not JSON, or fits no member.
        """
        return self.encode(self.decode(encoded))

    def decode(self, encoded: str) -> object:
        """Decode an event.

        Raises:
            PayloadInvalid: the text is not JSON, or fits no member.
        """
        try:
            return self._codecs[self._member_of(encoded)].decode(encoded.encode())
        except (ValueError, RecursionError) as error:
            raise PayloadInvalid(str(self), reason(error)) from None

    def decoder(self) -> Callable[[str], object]:
        """Return the fastest function that decodes all members; it raises a ValueError where none fits."""
        if len(self.members) == 1:
            return cast("Callable[[str], object]", self._codecs[self.members[0]].decode)
        if all(issubclass(member, msgspec.Struct) for member in self.members):
            return msgspec.json.Decoder(Union[self.members]).decode  # noqa: UP007  # a tuple of them
        return self.decode

    def schema(self) -> JsonSchema:
        """Return the JSON Schema (2020-12) of the serialized payload; a union's members are in `anyOf`."""
        return self._schema

    def fields(self, member: type) -> tuple[EventField, ...]:
        """Return the fields of one member by their JSON names, without the tag that a struct adds."""
        return self._codecs[member].fields

    def __str__(self) -> str:
        return " | ".join(member.__name__ for member in self.members)

    def _member_of(self, encoded: str) -> type:
        if len(self.members) == 1:
            return self.members[0]
        value = msgspec.json.decode(encoded)
        for member, tag in self.tags.items():
            if isinstance(value, dict) and cast(dict[str, object], value).get(tag.field) == tag.value:
                return member
        expected = ", ".join(f'"{tag.value}"' for tag in self.tags.values())
        raise ValueError(f"`{next(iter(self.tags.values())).field}` is not one of {expected}")


def _members(declared: object) -> Iterator[type]:
    origin = get_origin(declared)
    if origin is Union or isinstance(declared, types.UnionType):
        for alternative in get_args(declared):
            yield from _members(alternative)
    elif origin is Annotated:
        yield from _members(get_args(declared)[0])
    elif isinstance(declared, TypeAliasType):
        yield from _members(declared.__value__)
    elif isinstance(declared, type) and declared is not Event and is_event_type(declared):
        yield declared
    else:
        name = getattr(declared, "__name__", repr(declared))
        raise DeclarationError(
            f"{name} cannot be a channel's payload; use a subclass of flowcraft.Event, a Pydantic model, "
            "a dataclass, or a union of these"
        )


def _joined(codecs: Mapping[type, Codec]) -> JsonSchema:
    definitions: Definitions = {}
    for one in codecs.values():
        for name, definition in one.definitions.items():
            if definitions.setdefault(name, definition) != definition:
                raise DeclarationError(f"two different types are called {name}; rename one of them")
    references = [one.schema for one in codecs.values()]
    root = references[0] if len(references) == 1 else {"anyOf": references}
    return {**root, "$defs": definitions}


def _tags(codecs: Mapping[type, Codec]) -> Mapping[type, Tag]:
    candidates = {member: _tag_candidates(member, one) for member, one in codecs.items()}
    first, *others = candidates.values()
    if not others:
        return {member: tags[0] for member, tags in candidates.items() if tags}
    for tag in first:
        chosen = {m: t for m, tags in candidates.items() for t in tags if t.field == tag.field}
        if len(chosen) == len(candidates) == len({t.value for t in chosen.values()}):
            return chosen
    names = " | ".join(member.__name__ for member in candidates)
    raise DeclarationError(
        f"no field distinguishes the members of {names}; derive them from flowcraft.Event, "
        'or give each a field such as `type: Literal["run_started"] = "run_started"` with a unique value'
    )


def _tag_candidates(member: type, one: Codec) -> list[Tag]:
    tags: list[Tag] = []
    if issubclass(member, msgspec.Struct):
        config = member.__struct_config__
        if config.tag_field is not None and isinstance(config.tag, str):
            tags.append(Tag(config.tag_field, config.tag))
    for field in one.fields:
        values = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        if len(values) == 1 and isinstance(values[0], str):
            tags.append(Tag(field.name, values[0]))
    return tags


def _check_limits(name: str, encoded: bytes) -> None:
    if len(encoded) > MAX_PAYLOAD_BYTES:
        raise PayloadInvalid(name, f"{len(encoded)} bytes of JSON; an event has at most {MAX_PAYLOAD_BYTES}")
    if not _LONG_NUMBER.search(encoded):
        return
    for path, value in _leaves(msgspec.json.decode(encoded), "$"):
        if isinstance(value, int) and abs(value) > LARGEST_EXACT:
            raise PayloadInvalid(
                name, f"{value} is beyond 2^53; declare the field as flowcraft.Int64 - at `{path}`"
            )


def _leaves(value: object, path: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, inner in cast(dict[str, object], value).items():
            yield from _leaves(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(cast(list[object], value)):
            yield from _leaves(inner, f"{path}[{index}]")
    else:
        yield path, value
