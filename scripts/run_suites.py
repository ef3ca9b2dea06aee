"""Run suites of tests, each within a time limit, and add up their reports.

    python -m scripts.run_suites STEP...     a step is a suite, or several side by side: check+typescript

The steps run in their order; after a step in which a suite failed no other begins. A suite that exceeds its
limit is ended with everything that it started, and has failed. The last lines are those of `sum_reports.py`.

A few tests that failed beside others are run once more, alone. Those that pass then are unstable: counted in
the last line, and a bug of the test or of what it tests; on a machine that others use too they fail nothing.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer

from scripts.sum_reports import failures, sum_up

ROOT = Path(__file__).resolve().parents[1]
REPORTS = ROOT / "build/reports"
VITEST = ("node_modules/.bin/vitest", "run", "--reporter=default", "--reporter=junit")
ENGINES = (*VITEST, "--config", "tests/e2e/vitest.engines.config.ts", "--outputFile.junit={report}")
PYTEST = (".venv/bin/python", "-m", "pytest")
WORKERS = str(2 * (os.cpu_count() or 1))
"""Half of the time a test waits: for a server that starts, a timer, a fault that lasts."""
ENDING_SECONDS = 10.0
"""Between the signal that lets a suite end its servers and the one that it cannot refuse."""
MOST_UNSTABLE = 4
"""More failures than these have one cause, which is no accident."""
processes: list[subprocess.Popen[str]] = []


@dataclass(frozen=True)
class Suite:
    """A command, the seconds that it may take on a busy machine, and whether it writes a JUnit report."""

    command: Sequence[str]
    seconds: float
    reports: bool = True
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    again: Sequence[str] = ()
    """The command that runs alone what failed, if the suite has one."""


SUITES = {
    "check": Suite(("scripts/check",), 900, reports=False),
    "python": Suite(
        (*PYTEST, "-n", WORKERS, "--junitxml={report}"),
        2400,
        again=(*PYTEST, "--last-failed", "--last-failed-no-failures=none", "--junitxml={report}"),
    ),
    "typescript": Suite((*VITEST, "--outputFile.junit={report}"), 600),
    "e2e": Suite((*VITEST, "--config", "tests/e2e/vitest.config.ts", "--outputFile.junit={report}"), 1200),
    "faults": Suite((".venv/bin/python", "-m", "faults", "--counts-only", "--junit", "{report}"), 1800),
    "browsers": Suite(
        (*VITEST, "--config", "tests/e2e/vitest.world.config.ts", "--outputFile.junit={report}"), 900
    ),
    "firefox": Suite(("env", "ENGINE=firefox", *ENGINES), 1200),
    "webkit": Suite(("env", "ENGINE=webkit", *ENGINES), 1200),
    "world": Suite((*PYTEST, "-m", "world", "--junitxml={report}"), 5400),
}


def main(steps: Sequence[str], suites: Mapping[str, Suite] = SUITES) -> int:
    """Run the steps; the exit status says whether every suite of them passed."""
    plan = [step.split("+") for step in steps]
    if unknown := [name for names in plan for name in names if name not in suites]:
        sys.exit(f"no suite is called {', '.join(unknown)}; there are {', '.join(suites)}")
    REPORTS.mkdir(parents=True, exist_ok=True)
    reported: list[str] = []
    excused: list[str] = []
    broken, unstable = 0, 0
    for names in plan:
        for name, status in side_by_side({name: suites[name] for name in names}).items():
            if suites[name].reports and report_of(name).exists():
                reported.append(name)
                failed = sum_up([report_of(name)]).failed
                broken += bool(status and not failed)
                if passes_alone(name, suites[name], failed):
                    unstable += failed
                    excused.append(name)
            else:
                broken += bool(status) or suites[name].reports
        if broken or sum_up(map(report_of, reported), unstable=unstable).failed:
            break
    totals = sum_up(map(report_of, reported), failed_besides=broken, unstable=unstable)
    for name in reported:
        for line in failures([report_of(name)], "UNSTABLE" if name in excused else "FAILED"):
            print(line)
    print(totals)
    return totals.status


def side_by_side(suites: Mapping[str, Suite]) -> dict[str, int]:
    """Run suites at the same time and return the exit status of each."""
    for name in suites:
        report_of(name).unlink(missing_ok=True)
    with ThreadPoolExecutor(len(suites)) as pool:
        running = {name: pool.submit(run, name, suite, len(suites) > 1) for name, suite in suites.items()}
    return {name: future.result() for name, future in running.items()}


def passes_alone(name: str, suite: Suite, failed: int) -> bool:
    """Run what failed in a suite once more, if it is little; return whether all of it passes."""
    if not suite.again or not 0 < failed <= MOST_UNSTABLE:
        return False
    print(f"== {name}: {failed} failed; once more, alone", flush=True)
    second = Suite(suite.again, suite.seconds, environment=suite.environment)
    return side_by_side({f"{name}-again": second}) == {f"{name}-again": 0}


def report_of(name: str) -> Path:
    """Return where a suite writes its report."""
    return REPORTS / f"{name}.xml"


def run(name: str, suite: Suite, prefixed: bool) -> int:
    """Run one suite and print its lines as they come, under its name where others run too."""
    command = [part.format(report=report_of(name)) for part in suite.command]
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **suite.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    processes.append(process)
    limit = Timer(suite.seconds, end, [name, process, suite.seconds])
    limit.daemon = True
    limit.start()
    assert process.stdout is not None
    try:
        for line in process.stdout:
            print(f"{name:>10} | {line}" if prefixed else line, end="", flush=True)
        status = process.wait()
    finally:
        limit.cancel()
        signal_all(process, signal.SIGKILL)
    ending = "passed" if status == 0 else f"FAILED with status {status}"
    print(f"== {name} {ending} after {time.monotonic() - began:.0f} s", flush=True)
    return status


def end(name: str, process: subprocess.Popen[str], seconds: float) -> None:
    """End a suite that exceeded its limit, and what it started."""
    print(f"== {name}: not over after {seconds:g} s; it is ended", flush=True)
    signal_all(process, signal.SIGTERM)
    last = Timer(ENDING_SECONDS, signal_all, [process, signal.SIGKILL])
    last.daemon = True
    last.start()


def signal_all(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send a signal to a suite and to all processes of its session that are left."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def interrupted(number: int, _frame: object) -> None:
    """End what runs: the suites have sessions of their own, which a terminal's interrupt does not reach."""
    for process in processes:
        signal_all(process, signal.SIGTERM)
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, interrupted)
    sys.exit(main(sys.argv[1:]))
