"""`flowcraft check` reads the same with TypeScript 7, whose parser is another program, and with 6."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from flowcraft.checking.facts import WebFacts
from flowcraft.checking.typescript_sources import read_typescript
from tests.support.artefacts import ROOT

pytestmark = [pytest.mark.world, pytest.mark.timeout(180)]
WEB = ROOT / "examples/flowcraft/web"
BROKEN = "export const run = {\n  id: 1,\n"


def project(folder: Path, version: str) -> Path:
    """Copy the pages of the example, with a file that does not parse, and install a TypeScript."""
    shutil.copytree(WEB / "src", folder / "src")
    (folder / "src/broken.ts").write_text(BROKEN)
    (folder / "package.json").write_text('{ "name": "page", "private": true }')
    done = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--silent", f"typescript@{version}"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"not run: npm installs no TypeScript {version} here: {done.stderr[-300:]}")
    return folder


def test_both_read_the_same(tmp_path: Path) -> None:
    older, newer = (read_typescript(project(tmp_path / version, version)) for version in ("6", "7"))
    assert newer.error is None
    assert len(newer.subscriptions) > 5
    assert sum(len(file.broken) for file in newer.files) == 1
    assert placeless(newer, tmp_path / "7") == placeless(older, tmp_path / "6")


def test_an_interface_that_has_changed_is_reported(tmp_path: Path) -> None:
    folder = project(tmp_path / "page", "7")
    (folder / "node_modules/typescript/dist/api/sync/api.js").write_text("export const Other = 1;\n")
    error = read_typescript(folder).error or ""
    assert "has no parser that can be called (API is not a constructor)" in error
    assert error.endswith("install typescript 5 or 6 there")


def placeless(facts: WebFacts, folder: Path) -> str:
    return msgspec.json.encode(facts).decode().replace(str(folder), "")
