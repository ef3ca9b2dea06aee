"""Counts: what a node did since it started, for its health page and its metrics."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import get_args

from flowcraft.cursors import ResetReason

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Of histograms, in seconds: from a tenth of what is usual to more than any client should see."""


@dataclass(slots=True)
class Histogram:
    """How often something took how long. `buckets` has one more than `BOUNDS`: for all that took longer."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        """Count a duration, as often as it occurred."""
        self.buckets[bisect_left(BOUNDS, seconds)] += times
        self.seconds += seconds * times


@dataclass(slots=True)
class Counts:
    """Whoever does it counts it here, once for a group and not for each recipient."""

    slow_closes: int = 0
    dead_closes: int = 0
    refused: int = 0
    connections: int = 0
    reads: int = 0
    events: int = 0
    resumes: int = 0
    replays_from_log: int = 0
    resets: dict[str, int] = field(default_factory=lambda: dict.fromkeys(get_args(ResetReason), 0))
    live: int = 0
    replayed: int = 0
    ephemeral: int = 0
    sent_bytes: int = 0
    lateness: Histogram = field(default_factory=Histogram)
    loop_delay: Histogram = field(default_factory=Histogram)
