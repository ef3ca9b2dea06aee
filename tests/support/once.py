"""Once per run: what takes many seconds to make is made by the first worker that needs it, for all."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder of the whole run that `make` has filled; other workers wait until it has."""
    base = factory.getbasetemp()
    # Workers of pytest-xdist have a folder each, in one that is the run's.
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"once-{name}"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        finished = folder.with_suffix(".finished")
        if not finished.exists():
            folder.mkdir()
            make(folder)
            finished.touch()
    return folder
