"""Lateness: how long the events of a batch had been committed, at most, when it was read."""

from __future__ import annotations

from datetime import datetime

from flowcraft.records import Batch


class Lateness:
    """PostgreSQL does not keep when a transaction committed; two bounds are known, and both are used.

    It was not before the event was stated, and not before the last read, which did not see it. So what comes
    out is never too little. It is too much by the shorter of two times: what the transaction still did after
    the event, and the pause between two reads. Both ends are of the database's clock.
    """

    def __init__(self) -> None:
        self._last: datetime | None = None

    def begin(self, start: Batch) -> None:
        """Take a position that does not continue the last one."""
        self._last = start.at

    def of(self, batch: Batch) -> float:
        """Return the seconds for the oldest event of the next batch."""
        known = [at for at in (self._last, batch.oldest) if at is not None]
        self._last = batch.at
        # A commit between the time of a read and its snapshot is in it, and has not waited.
        return max(0.0, (batch.at - max(known)).total_seconds()) if known else 0.0
