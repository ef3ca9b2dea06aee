"""The gate of the site: what leads nowhere, and what is fetched from elsewhere, stops the build."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.processes import ROOT

FAULTS = """
[a page](nowhere.md), [a heading](../guarantees.md#nowhere), [a heading that
goes on](../../spec/protocol.md#nowhere)
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The repository by links, but for its docs, which are a copy."""
    for path in ROOT.iterdir():
        if path.name not in {"docs", "build", ".git"}:
            (tmp_path / path.name).symlink_to(path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    return tmp_path


def built(repository: Path, page: str) -> str:
    (repository / "docs/guides/faulty.md").write_text(page, "utf-8")
    done = subprocess.run(
        ["sh", repository / "scripts/site"], capture_output=True, text=True, check=False, cwd=repository
    )
    assert done.returncode != 0, "the gate lets it through"
    return done.stdout + done.stderr


def test_a_link_or_an_anchor_that_leads_nowhere_stops_the_build(repository: Path) -> None:
    said = built(repository, FAULTS)
    assert "'nowhere.md', but the target" in said
    assert "'guarantees.md' does not contain an anchor '#nowhere'" in said
    assert "'spec/protocol.md' does not contain an anchor '#nowhere'" in said


def test_a_link_to_a_file_that_the_repository_has_not_stops_the_build(repository: Path) -> None:
    assert "faulty.md links to src/nowhere.py" in built(repository, "[code](../../src/nowhere.py)\n")


def test_a_page_that_fetches_something_from_elsewhere_stops_the_build(repository: Path) -> None:
    assert "a page fetches something from elsewhere" in built(
        repository, "![a picture](https://example.com/picture.png)\n"
    )
