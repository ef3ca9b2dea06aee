"""The carriers and the node without the compiled fan-out: they do the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTEST = (
    "-m",
    "pytest",
    "-q",
    "-n",
    "2",
    "-p",
    "no:cacheprovider",
    "tests/carriers",
    "tests/node",
    "tests/hub",
)


@pytest.mark.timeout(1200)
def test_every_carrier_does_the_same_without_the_compiled_module() -> None:
    done = subprocess.run(
        [sys.executable, *PYTEST],
        cwd=ROOT,
        env=os.environ | {"FLOWCRAFT_FAN_OUT": "python"},
        capture_output=True,
        text=True,
        timeout=1100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
