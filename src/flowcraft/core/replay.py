"""Replay: deliver the events after a cursor to one subscription, without a gap and without an overlap."""

from __future__ import annotations

from dataclasses import dataclass, field

from flowcraft.core.states import State
from flowcraft.cursors import Cursor, Snapshot
from flowcraft.records import Record, with_families


@dataclass(slots=True, eq=False)
class Replay:
    """A subscription between its request and its `subscribed`.

    The log is read at a snapshot R, while the hub moves on to a snapshot T. Both are of one primary, so one
    contains the other. If R is newer, its records beyond T will be delivered live: they are dropped here. If
    T is newer, the records between R and T were broadcast in the meantime: they are in `missed`.

    `since` may be newer than the hub: a page reads its state straight from the database. The replay then ends
    once the hub has passed `since`; otherwise the page would receive events that its state contains already.
    One read may serve several replays, from the oldest of their cursors: records that `since` covers are
    dropped.
    """

    session: int
    channels: set[str]
    since: Cursor
    ref: int | None
    wants_rows: bool = False
    """Whether the rows of the channels are sent where these records cannot be."""
    state: State | None = None
    """The rows at `since`, to be sent before the records."""
    attempts: int = 0
    """How many states were read before that could not be sent."""
    is_from_oldest: bool = False
    """Whether it begins where the log does: `since` is moved there when that is known."""
    missed: list[Record] = field(default_factory=list[Record])
    replayed: tuple[Record, ...] | None = None
    patience: int = 2
    """Batches that the hub may still take to pass `since`, before a read finds out whether `since` is valid.

    2: the read that is under way may have begun before the page read its state; the one after it has not.
    """

    def begin_at(self, floor: int) -> None:
        """Begin at the oldest transaction that the log still has."""
        self.since = Cursor(self.since.lineage, Snapshot(floor))

    def can_end_at(self, position: Snapshot) -> bool:
        """Return whether a position is at or past `since`."""
        return position.contains(self.since.snapshot)

    @property
    def names(self) -> set[str]:
        """The channels to read: those that are still subscribed, and their families."""
        return with_families(self.channels)

    def merge(self, position: Cursor) -> tuple[Record, ...]:
        """Return the records between `since` and the hub's position, each once, in order."""
        names = self.names
        merged = {
            record.id: record
            for record in self.replayed or ()
            if record.channel in names and position.covers(record.xid) and not self.since.covers(record.xid)
        }
        for record in self.missed:
            if record.channel in names and not self.since.covers(record.xid):
                merged.setdefault(record.id, record)
        return tuple(merged.values())
