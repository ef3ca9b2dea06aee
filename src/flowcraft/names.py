"""Names: the grammar of channel names on the wire, and the convention of declared ones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from flowcraft.errors import DeclarationError

NAME_GRAMMAR = r"^[a-z][a-z0-9_]{0,47}(\.[A-Za-z0-9_-]{1,64})?$"
_NAME = re.compile(NAME_GRAMMAR, re.ASCII)
_STATIC = re.compile(r"[a-z][a-z0-9_]*_update|system|dashboard", re.ASCII)
_ROWS = re.compile(r"[a-z][a-z0-9_]*_rows", re.ASCII)
_FAMILY = re.compile(r"([a-z][a-z0-9_]{0,47})\.\{([a-z][a-z0-9_]*)\}", re.ASCII)
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,18})", re.ASCII)

# By expressions and not by `parse`, which takes 1.5 µs for a UUID: every record of the log is checked.
_CANONICAL: Mapping[type, re.Pattern[str]] = {
    UUID: re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.ASCII),
    int: re.compile(r"0|-?[1-9]\d{0,18}", re.ASCII),
}


def is_name(name: str) -> bool:
    """Return whether a text is within the grammar of channel names."""
    return _NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Parameter:
    """The variable part of a family's name."""

    name: str
    type: type[UUID] | type[int] | type[str]

    def parse(self, text: str) -> UUID | int | str:
        """Parse the value in a channel's name.

        Raises:
            ValueError: the text is not a value of this type. A UUID in upper case is a value: see `reads`.
        """
        if self.type is int and not _INTEGER.fullmatch(text):
            raise ValueError(f"{text!r} is not an integer of at most 19 digits")
        return self.type(text)

    def reads(self, text: str) -> bool:
        """Return whether a text is the canonical spelling of a value of this type."""
        canonical = _CANONICAL.get(self.type)
        return canonical is None or canonical.fullmatch(text) is not None


def parameter_of(name: str, params: Mapping[str, type[UUID] | type[int] | type[str]]) -> Parameter | None:
    """Return the parameter of a family's name; None for a channel.

    Raises:
        DeclarationError: the name breaks the convention, or `params` does not fit it.
    """
    family = _FAMILY.fullmatch(name)
    if family is None:
        if params:
            raise DeclarationError(
                f"{name!r} has no part for {', '.join(params)}; write '<entity>.{{{next(iter(params))}}}'"
            )
        if not _STATIC.fullmatch(name) or not _NAME.fullmatch(name):
            raise DeclarationError(
                f"{name!r} breaks the naming convention: '<entity>_update' (changes of all entities of a "
                "kind), '<entity>.{id}' with params (one entity), 'system' or 'dashboard'; lower case, "
                f"at most 48 characters{_near_miss(name)}"
            )
        return None
    key = family[2]
    if set(params) != {key}:
        raise DeclarationError(
            f"{name!r} needs params={{{key!r}: UUID}} (or int, or str), got {sorted(params)}"
        )
    if params[key] not in (UUID, int, str):
        raise DeclarationError(f"{name!r}: the type of {key} is UUID, int or str, not {params[key]!r}")
    return Parameter(key, params[key])


def rows_parameter_of(
    name: str, params: Mapping[str, type[UUID] | type[int] | type[str]]
) -> Parameter | None:
    """Return the parameter of a family of rows; None for one channel of rows.

    Raises:
        DeclarationError: the name breaks the convention, or `params` does not fit it.
    """
    family = _FAMILY.fullmatch(name)
    prefix = name if family is None else family[1]
    if not _ROWS.fullmatch(prefix) or not is_name(prefix):
        raise DeclarationError(
            f"{name!r} breaks the naming convention of rows: '<entity>_rows', or '<entity>_rows.{{id}}' with "
            "params; lower case, at most 48 characters before the dot"
        )
    return parameter_of(name, params) if family is not None or params else None


def _near_miss(name: str) -> str:
    """Return a hint for a name such as `run_updates`, `run-update`, `RunUpdated` or `run.changed`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+", "_", name).lower().strip("_")
    entity = re.sub(r"_(updates?d?|change[sd]?|events?|notifications?)$", "", words)
    meant = f"{entity}_update"
    is_family = entity == words and not name.isidentifier() and not {"-", " "} & set(name)
    if not name.isascii():
        return ""
    if is_family or entity == "update" or not _STATIC.fullmatch(meant) or not _NAME.fullmatch(meant):
        return ""
    listen = f", with source=Notify({name!r}) to listen to a NOTIFY of that name" if name != meant else ""
    return f"; did you mean {meant!r}{listen}?"
