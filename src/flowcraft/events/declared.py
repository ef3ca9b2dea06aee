"""What a service declares its events with."""

from __future__ import annotations

from typing import Annotated, dataclass_transform

import msgspec

Int64 = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^-?\d{1,19}$",
        description="A 64-bit integer, in decimal.",
        extra_json_schema={"format": "int64"},
    ),
]
"""A 64-bit integer that travels as text: JavaScript's numbers are exact up to 2^53 only."""


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class _EventMeta(msgspec.StructMeta):
    """msgspec's metaclass, told to type checkers with this project's defaults."""


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="type", metaclass=_EventMeta):
    """A fact about the domain: frozen, keyword-only, validated when it is broadcast.

    Subclasses are structs of msgspec. Their JSON carries the class name in `type`, so that a channel can
    carry a union.
    """
