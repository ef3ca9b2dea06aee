"""Declared events: the base class and the field types of events."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar, dataclass_transform

import msgspec

Int64 = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^-?\d{1,19}$",
        description="A 64-bit integer, in decimal.",
        extra_json_schema={"format": "int64"},
    ),
]
"""A 64-bit integer, sent as text: JavaScript's numbers are exact only up to 2^53."""


_M = TypeVar("_M", bound="_KeywordOnly")


class _KeywordOnly(msgspec.StructMeta):
    """Makes the fields of every subclass keyword-only; msgspec's own option is not inherited."""

    def __new__(  # noqa: PYI019  # a metaclass cannot use Self
        cls: type[_M], name: str, bases: tuple[type, ...], namespace: dict[str, Any], **config: object
    ) -> _M:
        options: dict[str, Any] = {"kw_only": True, **config}
        return super().__new__(cls, name, bases, namespace, **options)


# On the class, not on its metaclass: mypy uses the first one in the hierarchy, and msgspec.Struct has one.
@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Event(msgspec.Struct, frozen=True, tag=True, tag_field="type", metaclass=_KeywordOnly):
    """A fact about the domain: frozen, keyword-only, validated when it is broadcast.

    Subclasses are msgspec structs. Their JSON has the class name in `type`, so that a channel can carry a
    union.
    """
