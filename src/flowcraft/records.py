"""Records: committed events, and the batches in which the log is read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from flowcraft.cursors import Cursor, Snapshot


class Kind(Enum):
    """What a record is: an event, or what subscribers must know besides. The values are those of the log."""

    EVENT = "e"
    GONE = "g"
    """A row has left the channel; the payload has its key."""
    RESET = "r"
    """The state of the channel must be read again."""
    SKIPPED = "s"
    """An event that could not be made; the payload has the reason."""
    WITHDRAWAL = "w"


@dataclass(frozen=True, slots=True)
class Record:
    """One committed event: the transaction that wrote it, its id in the log, its channel, its JSON.

    The payload is the stored text; the server passes it to the browser without parsing it again.
    """

    xid: int
    id: int
    channel: str
    payload: str
    trace: str | None = None
    """The trace of the broadcast, as a W3C `traceparent`; not validated."""
    kind: Kind = Kind.EVENT


@dataclass(frozen=True, slots=True)
class Unreadable:
    """One committed event that cannot be delivered: its text does not decode or is not JSON."""

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
    """The limit of one read: in events, and in bytes of their payloads if `bytes` is set."""

    events: int
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """The records between two cursors: whole transactions, the changes of one row in order.

    `cursor` is the cursor after the batch. `snapshot` is the snapshot of the read, which also covers
    transactions without events. `at` is the database's time of the read; `oldest` is its time when the oldest
    record was broadcast, if the log knows it and the batch is complete. `unreadable` events lie between the
    same cursors but are not among the records: their subscribers must reload their state.
    """

    records: tuple[Record, ...]
    cursor: Cursor
    snapshot: Snapshot
    at: datetime
    oldest: datetime | None = None
    unreadable: tuple[Unreadable, ...] = ()
