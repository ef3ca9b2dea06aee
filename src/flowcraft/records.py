"""Records: what the log has committed, in the batches it is read in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flowcraft.cursors import Cursor, Snapshot


@dataclass(frozen=True, slots=True)
class Record:
    """One committed event: the transaction that wrote it, its id in the log, its channel, its JSON.

    The payload is the text that was stored; nothing on its way to the browser parses it again.
    """

    xid: int
    id: int
    channel: str
    payload: str
    trace: str | None = None
    """The trace it was stated in, as a W3C `traceparent`; not checked yet."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """One committed event that cannot be delivered: its text does not decode, or is not JSON."""

    xid: int
    id: int
    channel: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ephemeral:
    """An event outside the log: delivered at most once, to the clients that are connected."""

    channel: str
    payload: str


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that one read may bring: events, and bytes of their payload if these are bounded too."""

    events: int
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """The difference between two positions: whole transactions, the changes of one row in order.

    `cursor` is the position after it. `seen` is the plain snapshot it was read at, which also covers
    transactions that wrote no event; `at` is the database's time of that read, `oldest` its time when the
    oldest of the records was stated, where a log knows it and all of it is read. `unreadable` lie between the
    two positions too, and are not among the records: their subscribers have to reload their state.
    """

    records: tuple[Record, ...]
    cursor: Cursor
    snapshot: Snapshot
    at: datetime
    oldest: datetime | None = None
    unreadable: tuple[Unreadable, ...] = ()
