"""Replay: how one subscription catches up with the hub without a gap and without an overlap."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from flowcraft.cursors import Cursor
from flowcraft.records import Record


@dataclass(slots=True, eq=False)
class CatchUp:
    """A subscription between its request and its `subscribed`.

    The log is read at a moment of its own, R, while the hub moves on to T. Both are snapshots of one
    primary, so one contains the other. If R is the newer, its records beyond T will come live: drop them.
    If T is the newer, its records beyond R were broadcast in the meantime: they are in the backlog.
    """

    session: int
    channels: set[str]
    since: Cursor
    ref: int | None
    backlog: list[Record] = field(default_factory=list[Record])

    def merge(self, replayed: Iterable[Record], position: Cursor) -> tuple[Record, ...]:
        """Return what lies between `since` and the hub's position, each record once, in order."""
        merged = {
            record.id: record
            for record in replayed
            if record.channel in self.channels and position.covers(record.xid)
        }
        for record in self.backlog:
            if record.channel in self.channels and not self.since.covers(record.xid):
                merged.setdefault(record.id, record)
        return tuple(merged.values())
