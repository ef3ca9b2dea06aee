"""Measures: what a node is and did, in numbers, at one moment; they can be passed between processes."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from flowcraft.core.counts import Counts

State: TypeAlias = Literal["starting", "live", "stale", "draining"]


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """Of one node. Its counts only grow, until the process ends."""

    pid: int
    state: State
    doorbell: str
    connections: int
    subscribers: dict[str, int]
    """By the declared name of the channel."""
    queued_connections: int
    queue_bytes: int
    relay_lag_seconds: float
    replay_reads: int
    replays_from_memory: int
    restarts: dict[str, int]
    """By the name of the task."""
    counts: Counts
