"""Replay: how one subscription catches up with the hub without a gap and without an overlap."""

from __future__ import annotations

from dataclasses import dataclass, field

from flowcraft.cursors import Cursor, Snapshot
from flowcraft.records import Record


@dataclass(slots=True, eq=False)
class CatchUp:
    """A subscription between its request and its `subscribed`.

    The log is read at a moment of its own, R, while the hub moves on to T. Both are snapshots of one
    primary, so one contains the other. If R is the newer, its records beyond T will come live: drop them.
    If T is the newer, its records beyond R were broadcast in the meantime: they are in the backlog.

    `since` may be newer than the hub, too: a page reads its state straight from the database. The catch-up
    then ends once the hub has come past it, or the page would be told again of what its state holds
    already. The log may have been read for others too, from an older cursor: what `since` covers is dropped.
    """

    session: int
    channels: set[str]
    since: Cursor
    ref: int | None
    backlog: list[Record] = field(default_factory=list[Record])
    replayed: tuple[Record, ...] | None = None
    patience: int = 2
    """Batches that the hub may still take to come past `since`, before the log is asked about it."""

    def can_end_at(self, seen: Snapshot) -> bool:
        """Tell whether the hub has seen all that `since` has."""
        return seen.contains(self.since.seen)

    def merge(self, position: Cursor) -> tuple[Record, ...]:
        """Return what lies between `since` and the hub's position, each record once, in order."""
        merged = {
            record.id: record
            for record in self.replayed or ()
            if record.channel in self.channels
            and position.covers(record.xid)
            and not self.since.covers(record.xid)
        }
        for record in self.backlog:
            if record.channel in self.channels and not self.since.covers(record.xid):
                merged.setdefault(record.id, record)
        return tuple(merged.values())
