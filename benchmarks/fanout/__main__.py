"""Fan-out, side by side in one run: `python -m benchmarks.fanout [--rounds N] [--only NAME,...]`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from benchmarks.fanout.measure import Failed, Load, measure, prepare
from benchmarks.fanout.subjects import SUBJECTS, Subject
from benchmarks.fanout.table import Runs, table
from benchmarks.machine import options, where, write

LOADS = ((1_000, 1), (1_000, 10), (10_000, 1))
"""Clients, and messages at a time."""


def main() -> int:
    """Run what was asked for and print a table for each load."""
    given = _given()
    prepare(max(clients for clients, _ in LOADS))
    subjects = [s for s in SUBJECTS if not given.only or s.name in given.only.split(",")]
    print("commit {commit}, {machine}".format_map(where()))
    missing = {s.name: why for s in subjects if (why := s.needs())}
    runs = _run([s for s in subjects if s.name not in missing], given.rounds, given.seconds)
    for load, found in runs.items():
        print(f"\n{load}\n\n{table(found)}")
    for name, why in missing.items():
        print(f"not run: {name} ({why} is missing)")
    if given.json:
        write(given.json, {"rounds": given.rounds, "runs": runs, "not run": missing})
    return 0


def _given() -> argparse.Namespace:
    parser = options("benchmarks.fanout", __doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run")
    parser.add_argument("--only", default="", help="names of subjects, with commas")
    return parser.parse_args()


def _run(subjects: list[Subject], rounds: int, seconds: float) -> Runs:
    """Every subject once, then again: what else the machine does hits all alike."""
    runs: Runs = {}
    for clients, burst in LOADS:
        load = Load(clients, burst, seconds)
        found = runs.setdefault(str(load), {})
        for number in range(rounds):
            for subject in subjects:
                what = f"{load}, round {number + 1}: {subject.name}"
                print(f"\r{what:70}", end="", file=sys.stderr, flush=True)
                try:
                    found.setdefault(subject.name, {})[str(number)] = asdict(measure(subject, load))
                except Failed as error:
                    print(f"\n{subject.name}: {error}", file=sys.stderr)
    print(file=sys.stderr)
    return runs


if __name__ == "__main__":
    sys.exit(main())
