"""Every page of the site and of the example, in light and in dark: no violation that axe finds."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VITEST = ("node_modules/.bin/vitest", "run", "--config", "tests/e2e/vitest.config.ts", "accessibility")


@pytest.mark.timeout(1500)
def test_no_page_has_a_violation() -> None:
    chromium = (ROOT / "build/browser").read_text().strip()
    environment = os.environ | {"ALL_PAGES": "1", "CHROMIUM": chromium}
    done = subprocess.run(
        VITEST, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1400, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
