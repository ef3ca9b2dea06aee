"""Planted bugs: each patch makes one mistake in the sources, and the harness must find it.

A patch says in its first lines what it plants, and which invariant is to be broken by it. Some are planted in
every run, one of each part of the product; `make test-world` plants all.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from faults.broker import WITHOUT, find_binary

ROOT = Path(__file__).resolve().parents[2]
PATCHES = sorted((Path(__file__).parent / "planted").glob("*.patch"))
SEEDS = tuple(range(7, 14))
TINY = ("--size", "tiny", "--counts-only")
LONGEST_SECONDS = 290
IN_EVERY_RUN = {
    "announced-too-early",  # a commit point
    "gaps-unnoticed",  # an edge
    "heartbeat-without-count",  # the session
    "missed-events-dropped",  # the reader of the log
}
PRESENCE = {"I26"}
"""In a run of its own: half a minute is waiting."""
THROUGH_NATS = {"I29", "I30", "I31", "I32", "I33", "I34"}

pytestmark = pytest.mark.timeout(300)


def planted(patch: Path) -> object:
    """A parameter: the patch, for every run or for `make test-world`."""
    marks = () if patch.stem in IN_EVERY_RUN else pytest.mark.world
    return pytest.param(patch, marks=marks, id=patch.stem)


def broken_by(patch: Path) -> str:
    """The invariant that a patch is said to break."""
    found = re.search(r"^Broken: (I\d+)$", patch.read_text("utf-8"), re.MULTILINE)
    assert found is not None, f"{patch.name} does not say what it breaks"
    return found[1]


def run(source: Path, invariants: str, seed: int) -> tuple[int, str]:
    """Run the harness, and its servers, on a tree of sources."""
    outcome = subprocess.run(
        [sys.executable, "-m", "faults", *TINY, "--seed", str(seed), "--only", invariants],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(source), str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    return outcome.returncode, outcome.stdout + outcome.stderr


def plant(patch: Path, folder: Path) -> Path:
    """Copy the sources into a folder, with the mistake of a patch."""
    source = shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    applied = subprocess.run(
        ["git", "apply", str(patch)],
        cwd=folder,
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert applied.returncode == 0, f"{patch.name} does not fit the sources any more: {applied.stderr}"
    return source


def test_there_are_planted_bugs() -> None:
    assert {patch.stem for patch in PATCHES} > IN_EVERY_RUN


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_a_planted_bug_fits_the_sources(patch: Path) -> None:
    assert broken_by(patch)
    checked = subprocess.run(
        ["git", "apply", "--check", str(patch)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


@pytest.mark.world
@pytest.mark.parametrize("part", ["most", "presence", "NATS"])
def test_where_nothing_is_planted_nothing_is_found(part: str) -> None:
    invariants = {broken_by(patch) for patch in PATCHES}
    apart = {"presence": PRESENCE, "NATS": THROUGH_NATS}
    wanted = sorted(apart.get(part, invariants - PRESENCE - THROUGH_NATS) & invariants)
    status, said = run(ROOT / "src", ",".join(wanted), SEEDS[0])
    assert status == 0, said


@pytest.mark.parametrize("patch", [planted(patch) for patch in PATCHES])
def test_a_planted_bug_is_found(patch: Path, tmp_path: Path) -> None:
    if broken_by(patch) in THROUGH_NATS and find_binary() is None:
        pytest.skip(WITHOUT)
    source = plant(patch, tmp_path)
    invariant = broken_by(patch)
    # A bug that only delays events is no failure where times are not judged: it is late.
    verdict = "late" if "\nFound: late\n" in patch.read_text("utf-8") else "FAIL"
    said = ""
    for seed in SEEDS:  # some bugs need a moment that comes often, and not in every two seconds
        _, said = run(source, invariant, seed)
        if re.search(rf"^{invariant} {verdict}", said, re.MULTILINE):
            return
    pytest.fail(said)
