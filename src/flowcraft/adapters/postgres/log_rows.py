"""The rows of the log as records, each checked by itself; one that cannot be read stops no other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, NoReturn

import asyncpg
import msgspec

from flowcraft.cursors import mark_of
from flowcraft.records import Kind, Record, Unreadable

UNDECODABLE = (
    UnicodeDecodeError,
    asyncpg.CharacterNotInRepertoireError,
    asyncpg.UntranslatableCharacterError,
)
"""The errors of a statement of whose rows one text does not decode: in this process, or in the server."""
_KINDS, _SKIPPED = {kind.value.encode(): kind for kind in Kind}, Kind.SKIPPED
_EPOCH, _POSTGRES_EPOCH = datetime(1970, 1, 1, tzinfo=UTC), 946_684_800_000_000
_validate = msgspec.json.Decoder(msgspec.Raw).decode
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


def records(rows: Iterable[Any]) -> tuple[tuple[Record, ...], list[Unreadable]]:
    """Return the records of rows, and as `Unreadable` those whose payload, not JSON, would break a frame."""
    found: list[Record] = []
    unreadable: list[Unreadable] = []
    validate, kind_of = _validate, _KINDS.get
    for id_, xid, channel, payload, trace, _, kind in rows:
        # 0.1 µs for a small payload, 4 µs for 10 KB; once an event, not once a subscriber.
        try:
            validate(payload)
        except (msgspec.DecodeError, RecursionError):
            if not _is_json_nevertheless(payload):
                unreadable.append(Unreadable(xid, id_, channel, "its payload is not JSON"))
                continue
        found.append(Record(xid, id_, channel, payload, trace or None, kind_of(kind, _SKIPPED)))
    return tuple(found), unreadable


def oldest(rows: Iterable[Any]) -> datetime | None:
    """Return when the first of these events was broadcast; None if none of them has a time."""
    # As PostgreSQL sends times, numbers from the most significant byte on: they compare like the bytes.
    first = min([row[5] for row in rows if row[5]], default=None)
    return None if first is None else _EPOCH + timedelta(microseconds=_microseconds(first))


def marks(rows: Iterable[Any]) -> dict[int, int]:
    """Return the mark of the first event of each transaction, `mark_of`; the rows ascend."""
    found: dict[int, int] = {}
    for row in rows:
        xid = row[1]
        if xid not in found:
            found[xid] = mark_of(row[0], 0 if row[5] is None else _microseconds(row[5]))
    return found


def _microseconds(sent: bytes) -> int:
    """Return a time since 1970: PostgreSQL counts from 2000. No event is from before."""
    return int.from_bytes(sent, "big") + _POSTGRES_EPOCH


def _trace(trace: bytes | None) -> str | None:
    return None if trace is None else trace.decode("ascii", "replace")


def _codec(encoding: str) -> str:
    for pattern, codec in _CODECS:
        if match := pattern.fullmatch(encoding):
            return match.expand(codec)
    return encoding


def _is_json_nevertheless(text: str) -> bool:
    """Return whether PostgreSQL and browsers read it as JSON, such as half a surrogate pair in an escape."""
    try:
        json.loads(text, parse_constant=_refuse, parse_int=str, parse_float=str)
    except ValueError:
        return False
    except RecursionError:
        return True
    return True


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
