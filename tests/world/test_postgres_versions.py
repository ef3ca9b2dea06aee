"""Every test that uses a database, on every PostgreSQL that is installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flowcraft.adapters.postgres.embedded import Binaries, all_binaries
from flowcraft.adapters.postgres.embedded.binaries import ENVIRONMENT_VARIABLE

ROOT = Path(__file__).parents[2]
FOLDERS = [
    f"tests/{subject}"
    for subject in (
        *("backends", "carriers", "checks", "cli", "frameworks", "hub", "kit", "log", "node"),
        *("observability", "postgres", "rows", "security", "wakeups"),
    )
]
SECONDS = 1200


@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("binaries", all_binaries(), ids=lambda binaries: f"postgres{binaries.major}")
def test_every_test_that_uses_a_database_passes_on_this_version(binaries: Binaries) -> None:
    command = [
        *(sys.executable, "-m", "pytest", "--only-database", "-q", "-n", "2", "-p", "no:cacheprovider"),
        *FOLDERS,
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    # Each worker has a server of its own: transaction ids and locks are those of the whole server.
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**environment, ENVIRONMENT_VARIABLE: str(binaries.directory)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 200, done.stdout[-2_000:]


def test_the_oldest_version_that_is_supported_is_installed() -> None:
    assert len({binaries.major for binaries in all_binaries()}) >= 2
