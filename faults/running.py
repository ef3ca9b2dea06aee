"""Running: scenarios one after the other, or several at a time."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AsyncExitStack, contextmanager

from faults.outcomes import Outcome, Scenario, register
from faults.scenarios import load
from faults.sizes import Size
from faults.stage import Cluster, Stage

SCENARIO_SECONDS = 120.0
GRACE_SECONDS = 60.0
"""A scenario that does not end when it is cancelled ends the process, with the stacks of all threads."""


def run_here(scenarios: Sequence[Scenario], size: Size, seed: int) -> list[Outcome]:
    """Run scenarios one after the other, on one PostgreSQL."""
    import uvloop

    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    return uvloop.run(_run_all(scenarios, size, seed))


def run_side_by_side(scenarios: Sequence[Scenario], size: Size, seed: int, jobs: int) -> list[Outcome]:
    """Run each scenario in a process, on a PostgreSQL of its own: half of the time a scenario waits."""

    def run(scenario: Scenario) -> list[Outcome]:
        # A pool of its own each: where a process ends, only its scenario has failed.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            try:
                return process.submit(_run_named, scenario.name, size, seed).result()
            except BrokenProcessPool as error:
                return _broken(scenario, error)

    with ThreadPoolExecutor(jobs) as pool:
        return [outcome for outcomes in pool.map(run, scenarios) for outcome in outcomes]


def _run_named(name: str, size: Size, seed: int) -> list[Outcome]:
    load()
    return run_here([s for s in register.scenarios if s.name == name], size, seed)


async def _run_all(scenarios: Sequence[Scenario], size: Size, seed: int) -> list[Outcome]:
    found: list[Outcome] = []
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(Cluster.open())
        for scenario in scenarios:
            began = time.monotonic()
            with _process_ends(_limit(size) + GRACE_SECONDS):
                outcomes = await _run(scenario, size, seed, cluster)
            seconds = time.monotonic() - began
            words = ", ".join(f"{o.invariant} {o.word}" for o in outcomes)
            print(f"  {scenario.name}: {words} ({seconds:.1f} s)", flush=True)
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
        return _broken(scenario, error)


def _broken(scenario: Scenario, error: Exception) -> list[Outcome]:
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
