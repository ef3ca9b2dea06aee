"""Delays: how long events take from their commit, and the histograms of that."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import datetime

from flowcraft.records import Batch

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of histogram buckets in seconds: from a tenth of the usual delay to far beyond any."""


@dataclass(slots=True)
class Histogram:
    """Durations by bucket. `buckets` has one more than `BOUNDS`, for longer durations."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        """Count a duration that occurred `times` times."""
        self.buckets[bisect_left(BOUNDS, seconds)] += times
        self.seconds += seconds * times


class CommitDelay:
    """The longest time between the commit of an event and the read that returned it.

    PostgreSQL does not store when a transaction committed; two lower bounds are known. The commit was not
    before the event was written, and not before the last read, which did not see it. So the result is never
    too short. It is too long by the shorter of two times: the rest of the transaction after the event, and
    the pause between two reads. All times are of the database's clock.
    """

    def __init__(self) -> None:
        self._last: datetime | None = None

    def begin(self, start: Batch) -> None:
        """Start from a position that does not continue the last one."""
        self._last = start.at

    def of(self, batch: Batch) -> float:
        """Return the seconds for the oldest event of the next batch."""
        known = [at for at in (self._last, batch.oldest) if at is not None]
        self._last = batch.at
        # Not negative: a commit between the time of a read and its snapshot is in that read.
        return max(0.0, (batch.at - max(known)).total_seconds()) if known else 0.0
