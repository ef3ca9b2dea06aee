"""The invariants of edges with a stream, each fault inflicted by the fault harness."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from faults.broker import WITHOUT, find_binary

ROOT = Path(__file__).resolve().parents[2]
INVARIANTS = ("I29", "I30", "I31", "I32", "I33", "I34")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("invariants", [INVARIANTS[:3], INVARIANTS[3:]], ids=" ".join)
def test_the_invariants_of_edges_hold_with_a_stream(invariants: tuple[str, ...]) -> None:
    if find_binary() is None:
        pytest.skip(WITHOUT)
    options = ["--size", "tiny", "--counts-only", "--jetstream", "--only", ",".join(invariants)]
    done = subprocess.run(
        [sys.executable, "-m", "faults", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(invariants)} passed, 0 failed" in done.stdout
