"""Run the harness: `python -m faults [--size ci|long] [--seed N] [--only I1,I9]`.

It prints a line per invariant with its figures, and ends with `N passed, N failed`.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import logging
import random
import sys
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

from faults.outcomes import Outcome, Scenario, counts_only, merged, register, write_junit
from faults.report import write_results
from faults.scenarios import load
from faults.sizes import SIZES, Size
from faults.stage import Cluster, Stage

SCENARIO_SECONDS = 120.0
GRACE_SECONDS = 60.0
"""A scenario that does not end when it is cancelled ends the run, with the stacks of all threads."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; the exit status is 0 if everything held."""
    options = _options(arguments)
    load()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    size = SIZES[options.size]
    wanted = _wanted(options.only)
    print(f"fault harness: size {size.name}, seed {seed}, {len(wanted)} scenarios", flush=True)
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    began = time.monotonic()
    found = _runner(_run_all(wanted, size, seed))
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


async def _run_all(scenarios: Sequence[Scenario], size: Size, seed: int) -> list[Outcome]:
    found: list[Outcome] = []
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(Cluster.open())
        for scenario in scenarios:
            began = time.monotonic()
            print(f"  {scenario.name}: ", end="", flush=True)
            with _process_ends(_limit(size) + GRACE_SECONDS):
                outcomes = await _run(scenario, size, seed, cluster)
            seconds = time.monotonic() - began
            words = ", ".join(f"{o.invariant} {o.word}" for o in outcomes)
            print(f"{words} ({seconds:.1f} s)", flush=True)
            found += outcomes
    return found


async def _run(scenario: Scenario, size: Size, seed: int, cluster: Cluster) -> list[Outcome]:
    try:
        async with asyncio.timeout(_limit(size)), Stage.open(size, seed, cluster) as stage:
            try:
                return await scenario.run(stage)
            except Exception as error:
                error.add_note(stage.last_words())
                raise
    except Exception as error:  # noqa: BLE001  # a scenario that breaks has failed; the others go on
        notes = (f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ()))
        return [Outcome(name, False, {}, notes) for name in scenario.invariants]


@contextmanager
def _process_ends(seconds: float) -> Iterator[None]:
    """End the process unless this block is left in time."""
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _limit(size: Size) -> float:
    return SCENARIO_SECONDS + 20 * size.fault_seconds


def _sum_up(outcomes: Sequence[Outcome]) -> int:
    skipped = sum(outcome.skipped for outcome in outcomes)
    failed = sum(not outcome.passed and not outcome.skipped for outcome in outcomes)
    tail = f", {skipped} skipped" if skipped else ""
    print(f"{len(outcomes) - failed - skipped} passed, {failed} failed{tail}")
    return 1 if failed or skipped == len(outcomes) else 0


def _runner(work: Coroutine[object, object, list[Outcome]]) -> list[Outcome]:
    import uvloop

    return uvloop.run(work)


if __name__ == "__main__":
    sys.exit(main())
