"""The table of requests, and damaged ones, on uvicorn with httptools, which pip installs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.world, pytest.mark.timeout(180)]
ROOT = Path(__file__).parents[2]


def test_requests_have_the_same_answers_with_httptools(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(tmp_path), "httptools"],
        check=True,
    )
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-k", "httptools", "tests/http"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, "6 passed" in run.stdout, "skipped" in run.stdout) == (0, True, False), run.stdout
