"""Fan-out, side by side in one run: `python -m benchmarks.fanout [--quick] [--only NAME,...]`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path

from benchmarks.fanout.measure import Failed, Figures, Load, allow_many_files, build, measure
from benchmarks.fanout.subjects import FLOOR, FLOOR_JOINED, ROOT, SUBJECTS, Subject

LOADS = (Load(1_000, 1, 3.0), Load(1_000, 10, 3.0), Load(10_000, 1, 3.0))
Runs = dict[str, dict[str, list[Figures]]]


def main() -> int:
    """Run what was asked for and print a table for each load."""
    options = _options()
    build()
    allow_many_files()
    subjects = [s for s in SUBJECTS if not options.only or s.name in options.only.split(",")]
    print(f"commit {_commit()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores")
    missing = {s.name: why for s in subjects if (why := s.needs())}
    runs = _run([s for s in subjects if s.name not in missing], options.rounds, options.seconds)
    for load, found in runs.items():
        print(_table(load, found))
    for name, why in missing.items():
        print(f"not run: {name} ({why} is missing)")
    if options.json:
        _write(options.json, runs, missing)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fanout", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, of which medians are told")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run")
    parser.add_argument("--only", default="", help="names of subjects, with commas")
    parser.add_argument("--json", type=Path, help="write all figures")
    return parser.parse_args()


def _run(subjects: list[Subject], rounds: int, seconds: float) -> Runs:
    """Every subject once, then again: what else the machine does hits all alike."""
    runs: Runs = {}
    for each in LOADS:
        load = Load(each.clients, each.burst, seconds)
        found = runs.setdefault(str(load), {})
        for number in range(rounds):
            for subject in subjects:
                what = f"{load}, round {number + 1}: {subject.name}"
                print(f"\r{what:70}", end="", file=sys.stderr, flush=True)
                try:
                    found.setdefault(subject.name, []).append(measure(subject, load))
                except Failed as error:
                    print(f"\n{subject.name}: {error}", file=sys.stderr)
    print(file=sys.stderr)
    return runs


def _table(load: str, found: dict[str, list[Figures]]) -> str:
    lines = [
        f"\n{load}\n",
        "| server | messages/s | of C | of C joined | user µs | system µs | KB | handshakes/s | p50 ms |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    medians = {name: _median(runs) for name, runs in found.items() if runs}
    floors = [medians.get(floor.name) for floor in (FLOOR, FLOOR_JOINED)]
    for name, m in sorted(medians.items(), key=lambda item: -item[1].messages_per_s):
        ratios = [f"{m.messages_per_s / f.messages_per_s:.2f}" if f else "" for f in floors]
        shown = [name, f"{m.messages_per_s:,.0f}", *ratios, f"{m.user_us:.2f}", f"{m.system_us:.2f}"]
        shown += [f"{m.kb_per_connection:.1f}", f"{m.handshakes_per_s:,.0f}", f"{m.p50_ms:.2f}"]
        lines.append(f"| {' | '.join(shown)} |")
    return "\n".join(lines)


def _median(runs: list[Figures]) -> Figures:
    return Figures(**{f.name: statistics.median(getattr(r, f.name) for r in runs) for f in fields(Figures)})


def _write(path: Path, runs: Runs, missing: dict[str, str]) -> None:
    everything = {
        "commit": _commit(),
        "machine": {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "system": platform.platform(),
        },
        "runs": {
            load: {name: [asdict(f) for f in figures] for name, figures in found.items()}
            for load, found in runs.items()
        },
        "not run": missing,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(everything, indent=2) + "\n", "utf-8")


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
