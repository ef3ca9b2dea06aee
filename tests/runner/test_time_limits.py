"""Every test has a time limit, and a test that exceeds its own fails under its name, whatever hangs in it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.time_limits import LONGEST_SECONDS, limit_of

ROOT = Path(__file__).parents[2]

PLANTED = """
import asyncio
import threading

import pytest


async def test_a_task_waits_for_ever():
    await asyncio.Event().wait()


def test_a_thread_waits_for_ever():
    threading.Event().wait()


def test_a_loop_spins():
    while True:
        pass


@pytest.fixture
def stuck():
    threading.Event().wait()


def test_a_fixture_hangs(stuck):
    pass


async def test_a_task_swallows_the_exception():
    while True:
        try:
            await asyncio.Event().wait()
        except BaseException:
            pass


async def test_a_background_task_takes_the_exception():
    async def spin():
        while True:
            pass

    spinning = asyncio.ensure_future(spin())
    await asyncio.Event().wait()


@pytest.fixture
def never_closed():
    yield
    threading.Event().wait()


def test_a_teardown_hangs_too(never_closed):
    threading.Event().wait()


def test_after_them():
    pass
"""
HANGING = re.findall(r"def (test_a_\w+)", PLANTED)


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the planted tests with this repository's settings and limits of half a second."""
    (folder / "test_planted.py").write_text(PLANTED)
    command = [
        *(sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder)),
        *("-p", "tests.support.time_limits", "-p", "no:cacheprovider", "--tb=no"),
        *("-o", "timeout=0.5", "-o", "timeout_grace=0.5", *options),
        str(folder / "test_planted.py"),
    ]
    # A worker of pytest-xdist passes its own role on to the processes that it starts.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        command,
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str]:
    done = run(tmp_path_factory.mktemp("planted"), "-n", "2")
    return done.returncode, done.stdout


@pytest.mark.parametrize("name", HANGING)
def test_a_test_that_hangs_fails_under_its_name(name: str, summary: tuple[int, str]) -> None:
    assert re.search(rf"^(FAILED|ERROR) \S*test_planted\.py::{name}\b", summary[1], re.MULTILINE), summary[1]


def test_the_tests_after_one_that_hangs_still_run(summary: tuple[int, str]) -> None:
    assert summary[0] == 1
    assert ", 1 passed" in summary[1]


def test_without_workers_a_hang_that_swallows_its_limit_ends_the_run_and_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, "-k", "swallows")
    assert done.returncode == 1
    assert "::test_a_task_swallows_the_exception: not over after 1 s; the process is ended" in done.stderr


def test_every_test_of_this_run_has_a_limit(request: pytest.FixtureRequest) -> None:
    limits = {item.nodeid: limit_of(item) for item in request.session.items}
    assert {name: limit for name, limit in limits.items() if not 0 < limit <= LONGEST_SECONDS} == {}
