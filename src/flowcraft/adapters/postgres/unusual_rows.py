"""The rows of the log that are read otherwise: those that do not decode, and JSON of a looser grammar."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple, NoReturn

import asyncpg

from flowcraft.records import Unreadable

UNDECODABLE = (
    UnicodeDecodeError,
    asyncpg.CharacterNotInRepertoireError,
    asyncpg.UntranslatableCharacterError,
)
"""The errors of a statement of whose rows one text does not decode: in this process, or in the server."""
_CODECS = (
    (re.compile("SQL_ASCII"), "utf-8"),  # the server stores any bytes; they are read as UTF-8
    (re.compile(r"WIN(\d+)"), r"cp\1"),
    (re.compile(r"KOI8(\w)"), r"koi8_\1"),
    (re.compile("UHC"), "cp949"),
)


class Texts(NamedTuple):
    """One row of the statements `read` and `replay`; `more` is the column in which they differ."""

    id: int
    xid: int
    channel: str
    payload: str
    trace: str | None
    more: Any
    kind: bytes


def decode(rows: Iterable[Any], encoding: str) -> tuple[list[Texts], list[Unreadable]]:
    """Return the rows of `read_bytes` or `replay_bytes` that decode, and the others as `Unreadable`."""
    codec = _codec(encoding)
    texts: list[Texts] = []
    unreadable: list[Unreadable] = []
    for id_, xid, channel, payload, trace, more, kind in rows:
        try:
            name, text = channel.decode(codec), payload.decode(codec)
            texts.append(Texts(id_, xid, name, text, _trace(trace), more, kind))
        except (UnicodeDecodeError, LookupError):
            name = channel.decode("ascii", "backslashreplace")
            unreadable.append(Unreadable(xid, id_, name, f"its text does not decode as {codec}"))
    return texts, unreadable


def is_json_nevertheless(text: str) -> bool:
    """Return whether PostgreSQL and browsers read it as JSON, such as half a surrogate pair in an escape."""
    try:
        json.loads(text, parse_constant=_refuse, parse_int=str, parse_float=str)
    except ValueError:
        return False
    except RecursionError:
        return True
    return True


def _trace(trace: bytes | None) -> str | None:
    return None if trace is None else trace.decode("ascii", "replace")


def _codec(encoding: str) -> str:
    for pattern, codec in _CODECS:
        if match := pattern.fullmatch(encoding):
            return match.expand(codec)
    return encoding


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
