"""Fan-out on every ASGI server, ours beside a Starlette loop: `python -m benchmarks.fanout.hosts`."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TypeAlias

from benchmarks.fanout.hosted import COMMANDS
from benchmarks.fanout.measure import Failed, Load, measure, prepare
from benchmarks.fanout.subjects import OUR_PATH, Subject
from benchmarks.machine import options, where, write
from tests.support.hosts import hosts_environment

LOADS = ((1_000, 1), (1_000, 10))
"""Clients, and messages at a time."""
OURS, LOOP = "ours", "loop"
HEAD = (
    "| server | ours, messages/s | Starlette loop | ratio | ours, processor µs | Starlette loop | ratio |\n"
    "|---|---:|---:|---:|---:|---:|---:|"
)
Round: TypeAlias = dict[str, dict[str, float]]
"""The figures of both, by name."""


def main() -> int:
    """Run both on every server in turn, and print the messages per second and their ratio."""
    parser = options("benchmarks.fanout.hosts", __doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run")
    parser.add_argument("--only", default="", help="names of servers, with commas")
    given = parser.parse_args()
    prepare(max(clients for clients, _ in LOADS))
    servers = given.only.split(",") if given.only else list(COMMANDS)
    print("commit {commit}, {machine}".format_map(where()))
    rows = {
        str(load): {server: _rounds(server, load, given.rounds) for server in servers}
        for load in (Load(clients, burst, given.seconds) for clients, burst in LOADS)
    }
    for load, found in rows.items():
        print(f"\n{load}\n\n{HEAD}")
        for server, rounds in found.items():
            print(f"| {server} | {_row(rounds)} |")
    if given.json:
        write(given.json, {"rounds": given.rounds, "runs": rows})
    return 0


def _rounds(server: str, load: Load, rounds: int) -> list[Round]:
    found: list[Round] = []
    for number in range(rounds):
        print(f"\r{load}, round {number + 1}: {server:20}", end="", file=sys.stderr, flush=True)
        try:
            found.append({name: asdict(measure(_subject(server, name), load)) for name in (OURS, LOOP)})
        except Failed as error:
            print(f"\n{server}: {error}", file=sys.stderr)
    return found


def _subject(server: str, name: str) -> Subject:
    python = str(hosts_environment() / "python")
    return Subject(
        f"{name} on {server}",
        ("env", "PYTHONPATH=src:.", python, "-m", "benchmarks.fanout.hosted"),
        OUR_PATH if name == OURS else "/",
        extra=(server, name),
    )


def _row(rounds: list[Round]) -> str:
    if not rounds:
        return "failed | | | | | "
    speeds = [_in_both(rounds, lambda one: one["messages_per_s"]), _in_both(rounds, _microseconds)]
    texts = [f"{ours:,.0f} | {loop:,.0f} | {ratio:.2f}" for ours, loop, ratio in speeds[:1]]
    return " | ".join(
        [*texts, *(f"{ours:.1f} | {loop:.1f} | {ratio:.2f}" for ours, loop, ratio in speeds[1:])]
    )


def _microseconds(one: Mapping[str, float]) -> float:
    """Return the processor time of a message, which other programs on the machine change least."""
    return one["user_us"] + one["system_us"]


def _in_both(
    rounds: list[Round], figure: Callable[[Mapping[str, float]], float]
) -> tuple[float, float, float]:
    """Return the medians of a figure, and of its ratio within a round."""
    pairs = [(figure(one[OURS]), figure(one[LOOP])) for one in rounds]
    ours, loop = zip(*pairs, strict=True)
    ratios = [mine / other for mine, other in pairs]
    return statistics.median(ours), statistics.median(loop), statistics.median(ratios)


if __name__ == "__main__":
    sys.exit(main())
