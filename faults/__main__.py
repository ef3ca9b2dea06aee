"""Run the harness: `python -m faults [--size ci|long] [--seed N] [--only I1,I9] [--jetstream]`.

It prints a line per invariant with its figures, and ends with `N passed, N failed`.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from faults.outcomes import Outcome, Scenario, counts_only, merged, register, write_junit
from faults.report import write_results
from faults.running import run_here, run_side_by_side
from faults.scenarios import load
from faults.sizes import SIZES


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; the exit status is 0 if everything held."""
    options = _options(arguments)
    load()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    size = replace(SIZES[options.size], jetstream=options.jetstream)
    wanted = _wanted(options.only)
    print(f"fault harness: size {size.name}, seed {seed}, {len(wanted)} scenarios", flush=True)
    began = time.monotonic()
    if options.jobs > 1:
        found = run_side_by_side(wanted, size, seed, options.jobs)
    else:
        found = run_here(wanted, size, seed)
    outcomes = merged(outcome for outcome in found if _is_asked(outcome.invariant, options.only))
    if options.counts_only:
        outcomes = [counts_only(outcome) for outcome in outcomes]
    seconds = time.monotonic() - began
    print(f"\n{size.name} size, seed {seed}, {seconds:.0f} s", flush=True)
    for outcome in outcomes:
        print(outcome, *outcome.notes, sep="\n    ")
    if options.junit:
        write_junit(options.junit, outcomes)
    if options.json:
        write_results(options.json, size, seed, outcomes, seconds)
    return _sum_up(outcomes)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--size", choices=sorted(SIZES), default="ci", help="how much to do (default: ci)")
    parser.add_argument("--seed", type=int, help="repeat the choices of an earlier run")
    parser.add_argument("--only", default="", help="invariants, such as I1,I9; all without")
    parser.add_argument("--jobs", type=int, default=1, help="scenarios at a time (times suffer; default: 1)")
    parser.add_argument("--jetstream", action="store_true", help="relays keep what they publish in a stream")
    parser.add_argument("--counts-only", action="store_true", help="report what was late, and let it pass")
    parser.add_argument("--junit", type=Path, help="write a JUnit report")
    parser.add_argument("--json", type=Path, help="write the figures, for the table of the docs")
    return parser.parse_args(arguments)


def _wanted(only: str) -> list[Scenario]:
    wanted = [s for s in register.scenarios if any(_is_asked(name, only) for name in s.invariants)]
    if not wanted:
        known = sorted({name for s in register.scenarios for name in s.invariants})
        sys.exit(f"no scenario judges {only}; there are {', '.join(known)}")
    return wanted


def _is_asked(invariant: str, only: str) -> bool:
    return not only or invariant in only.split(",")


def _sum_up(outcomes: Sequence[Outcome]) -> int:
    skipped = sum(outcome.skipped for outcome in outcomes)
    failed = sum(not outcome.passed and not outcome.skipped for outcome in outcomes)
    tail = f", {skipped} skipped" if skipped else ""
    print(f"{len(outcomes) - failed - skipped} passed, {failed} failed{tail}")
    return 1 if failed or skipped == len(outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
