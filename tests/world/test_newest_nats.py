"""Edges on the newest nats-server, where Go builds it: Debian's is two years older."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVER = ROOT / "build" / "nats-server"
PYTEST = ("-m", "pytest", "-q", "-m", "world or not world", "-p", "no:cacheprovider")
FAULTS = ("-m", "faults", "--size", "tiny", "--counts-only", "--jetstream", "--only", "I31")
RUNS = {
    "contracts": (*PYTEST, "tests/edge/test_edge_contracts.py"),
    "failures": (*PYTEST, "tests/edge/test_edge_failures.py"),
    "stream": (*PYTEST, "tests/edge/test_stream.py"),
    "cluster": (*PYTEST, "tests/edge/test_cluster.py"),
    "end to end": (*PYTEST, "tests/edge/test_edge_end_to_end.py"),
    "a lost broker": FAULTS,
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("run", RUNS.values(), ids=list(RUNS))
def test_edges_hold_on_the_newest_server(run: tuple[str, ...]) -> None:
    if not SERVER.exists():
        pytest.skip(
            "edges were not run on the newest nats-server: no Go toolchain (scripts/setup newest-nats)"
        )
    done = subprocess.run(
        [sys.executable, *run],
        cwd=ROOT,
        env={**os.environ, "NATS_SERVER": str(SERVER)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
