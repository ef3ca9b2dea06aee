"""Tables: the results of the rounds of one load, as medians, spread and ratios."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import TypeAlias

Figures: TypeAlias = Mapping[str, float]
Rounds: TypeAlias = dict[str, Figures]
"""By their number: a round in which a subject failed is missing."""
Runs: TypeAlias = dict[str, dict[str, Rounds]]
"""Of each load, of each subject."""
FLOOR, FLOOR_JOINED, OURS = "C floor", "C floor joined", "FlowCraft"
SPEED = "messages_per_s"
HEAD = (
    (
        "| server | messages/s | spread | of C | of joined C | ours is "
        "| user µs | kernel µs | KB per idle client | handshakes/s |"
    ),
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
)


def table(found: Mapping[str, Mapping[str, Figures]]) -> str:
    """One load as Markdown, the fastest first."""
    speed = {name: median(rounds, SPEED) for name, rounds in found.items()}
    rows = [_row(name, found) for name in sorted(found, key=lambda name: -speed[name])]
    return "\n".join([*HEAD, *(f"| {' | '.join(row)} |" for row in rows)])


def median(rounds: Mapping[str, Figures], figure: str) -> float:
    """The median of one figure."""
    return statistics.median(figures[figure] for figures in rounds.values())


def ratio(found: Mapping[str, Mapping[str, Figures]], name: str, to: str) -> float | None:
    """The median of the ratios of two subjects in the same rounds; None if they have none in common."""
    rounds = found.get(name, {}).keys() & found.get(to, {}).keys()
    if not rounds:
        return None
    return statistics.median(found[name][n][SPEED] / found[to][n][SPEED] for n in rounds)


def _row(name: str, found: Mapping[str, Mapping[str, Figures]]) -> list[str]:
    rounds = found[name]
    speeds = [figures[SPEED] for figures in rounds.values()]
    half = (max(speeds) - min(speeds)) / 2 / statistics.median(speeds)
    faster = ratio(found, OURS, name)
    return [
        name,
        f"{statistics.median(speeds):,.0f}",
        f"±{100 * half:.0f} %",
        _short(ratio(found, name, FLOOR)),
        _short(ratio(found, name, FLOOR_JOINED)),
        "" if name == OURS or faster is None else f"{faster:.2f} times",
        f"{median(rounds, 'user_us'):.2f}",
        f"{median(rounds, 'system_us'):.2f}",
        f"{median(rounds, 'kb_per_connection'):.1f}",
        f"{median(rounds, 'handshakes_per_s'):,.0f}",
    ]


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
