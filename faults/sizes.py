"""Sizes: how much the harness does, for a build server and for a night."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Size:
    """One size of the harness. Times in seconds, the rate in events per second."""

    name: str
    rate: int
    lanes: int
    subscribers: int
    states: int
    fault_seconds: float
    races: int
    rounds: int
    cycles: int
    storm: int
    cursors: int
    backlog: int
    withdrawals: int
    jetstream: bool = False
    """Whether relays keep what they publish in a stream."""


TINY = Size("tiny", 200, 8, 12, 36, 2.0, 60, 60, 400, 100, 300, 20_000, 40)
CI = Size("ci", 200, 20, 60, 180, 6.0, 500, 600, 10_000, 2_000, 10_000, 200_000, 200)
LONG = Size("long", 1_000, 100, 500, 240, 60.0, 2_000, 2_400, 40_000, 8_000, 20_000, 1_000_000, 1_000)
SIZES = {size.name: size for size in (TINY, CI, LONG)}
