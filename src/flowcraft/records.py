"""Records: what a transaction committed to the log, and the batches in which the log is read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from typing import Literal, TypeAlias, cast, get_args

import msgspec

from flowcraft.cursors import Cursor, Snapshot

LoggedResetReason: TypeAlias = Literal["truncated", "redeclared"]
"""The reasons of resets that are records; any other is sent as `unreadable`."""
_RESET_REASONS = get_args(LoggedResetReason)
_REASON = re.compile(r"[a-z][a-z0-9_]{0,47}", re.ASCII)


class Kind(StrEnum):
    """The kind of a record; the value is how the log stores it."""

    EVENT = "e"
    """A typed fact; its payload is as the channel declares it."""
    GONE = "g"
    """A row left the channel; the payload has the fields of its key."""
    RESET = "r"
    """Subscribers have to load their state again; the payload has the reason."""
    SKIPPED = "s"
    """An event that cannot be delivered; the payload has the reason."""
    COUNT = "n"
    """How many members the channel has, which are not listed; the payload has the number."""
    WITHDRAWAL = "w"
    """A right ended; never sent to a client."""


# Not a frozen dataclass, whose constructor was 0.8 of the 1.2 microseconds that a record took. `gc`: texts
# and numbers alone are in no cycle.
class Record(msgspec.Struct, frozen=True, gc=False):
    """One committed record: the transaction that wrote it, its id in the log, its channel, its JSON.

    The payload is the stored text; the server passes it to the browser without parsing it again. A reset and
    a skipped event of a whole family are on the reserved channel of the family: see `family_of`.
    """

    xid: int
    id: int
    channel: str
    payload: str
    trace: str | None = None
    """The trace of the broadcast, as a W3C `traceparent`; not validated."""
    kind: Kind = Kind.EVENT

    def skipped(self, reason: str, key: Sequence[str] = ()) -> Record:
        """Return the record that subscribers get in the place of this one, an event.

        `key` has the fields by which its row is known, if it is one.
        """
        content: dict[str, object] = {"reason": reason}
        if key:
            row = json.loads(self.payload)
            content["key"] = {name: row[name] for name in key}
        payload = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
        return Record(self.xid, self.id, self.channel, payload, kind=Kind.SKIPPED)

    @property
    def reason(self) -> str:
        """The reason of a reset or a skipped event, as clients receive it; `unreadable` if it is unknown."""
        reason = self._members().get("reason")
        is_known = reason in _RESET_REASONS if self.kind is Kind.RESET else _REASON.fullmatch(str(reason))
        return str(reason) if is_known else "unreadable"

    @property
    def count(self) -> int:
        """The number that a count has.

        Raises:
            ValueError: it has none.
        """
        count = self._members().get("count")
        if type(count) is not int or count < 0:
            raise ValueError(f"record {self.id} on {self.channel} has no count")
        return count

    @property
    def key(self) -> Mapping[str, object] | None:
        """The key of the row that a skipped event is about, if it is about one."""
        key = self._members().get("key")
        return cast("dict[str, object]", key) if isinstance(key, dict) else None

    def _members(self) -> dict[str, object]:
        """Return the payload's members; none if it is not an object."""
        try:
            content: object = json.loads(self.payload)
        except (ValueError, RecursionError):
            content = None
        return cast("dict[str, object]", content) if isinstance(content, dict) else {}


def family_of(channel: str) -> str | None:
    """Return the reserved channel for records of all channels with this one's prefix; None if it has no dot.

    `runs.*` for `runs.7`. It is outside the grammar of names, so no client can subscribe to it.
    """
    prefix, dot, _ = channel.partition(".")
    return f"{prefix}.*" if dot else None


def with_families(channels: Iterable[str]) -> set[str]:
    """Return the channels whose records a subscriber of some channels needs: these and their families."""
    names = set(channels)
    return names.union(filter(None, map(family_of, names)))


@dataclass(frozen=True, slots=True)
class Unreadable:
    """One committed event that cannot be delivered: its text does not decode or is not JSON."""

    xid: int
    id: int
    channel: str
    reason: str

    def skipped(self) -> Record:
        """Return the record that subscribers get instead."""
        return Record(self.xid, self.id, self.channel, "").skipped("unreadable")


@dataclass(frozen=True, slots=True)
class Ephemeral:
    """An event outside the log: delivered at most once, to the clients that are connected."""

    channel: str
    payload: str
    number: int = field(default=0, compare=False)
    """Its number in the database, by which two copies of one event are recognised; 0 if it has none."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The limit of one read: in events, and in bytes of their payloads if `bytes` is set."""

    events: int
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class TableRows:
    """The rows of one channel as JSON, in no particular order, and the cursor of the snapshot that has them.

    `skipped` is how many more there are which cannot be sent, or are members that are counted and not listed.
    """

    cursor: Cursor
    rows: Sequence[str]
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """The records between two cursors: whole transactions, the changes of one row in order.

    `cursor` is the cursor after the batch. `snapshot` is the snapshot of the read, which also covers
    transactions without events. `at` is the database's time of the read; `oldest` is its time when the oldest
    record was broadcast, if the log knows it and the batch is complete. `unreadable` events lie between the
    same cursors but are not among the records: `readable` has skipped records in their places. `marks` has
    that of each transaction, by which a cursor proves its history (`cursors.mark_of`), if the log knows it.
    """

    records: tuple[Record, ...]
    cursor: Cursor
    snapshot: Snapshot
    at: datetime
    oldest: datetime | None = None
    unreadable: tuple[Unreadable, ...] = ()
    marks: Mapping[int, int] = field(default_factory=dict[int, int])

    def readable(self) -> Batch:
        """Return this batch with a skipped record in the place of each unreadable event."""
        if not self.unreadable:
            return self
        skipped = [event.skipped() for event in self.unreadable]
        records = tuple(sorted([*self.records, *skipped], key=attrgetter("id")))
        return replace(self, records=records, unreadable=())
