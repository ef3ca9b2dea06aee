"""What `flowcraft serve` serves when workers are measured."""

from __future__ import annotations

from benchmarks.fanout.ours.dedicated import declared
from flowcraft import Realtime, Settings

realtime = Realtime(
    declared(),
    settings=Settings(
        any_origin=True,
        connections=1_000_000,
        connections_per_address=1_000_000,
        heartbeat_seconds=600,
    ),
)
