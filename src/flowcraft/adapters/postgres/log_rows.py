"""The rows of the log as records, each checked by itself; one that cannot be read stops no other."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from flowcraft.adapters.postgres.unusual_rows import is_json_nevertheless
from flowcraft.cursors import mark_of
from flowcraft.records import Kind, Record, Unreadable

_KINDS, _SKIPPED = {kind.value.encode(): kind for kind in Kind}, Kind.SKIPPED
_EPOCH, _POSTGRES_EPOCH = datetime(1970, 1, 1, tzinfo=UTC), 946_684_800_000_000
_validate = msgspec.json.Decoder(msgspec.Raw).decode


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
            if not is_json_nevertheless(payload):
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
