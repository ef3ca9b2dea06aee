"""What type checkers let pass, and what not.

The files in `cases` are ordinary modules. Where one does something wrong, it says `type: ignore`, so that the
gates of this repository pass. Here these comments are taken away, and both checkers must report exactly those
lines. They run as a user's would: strict, without this repository's own settings.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.once import made_once

ROOT = Path(__file__).parents[2]
CASES = sorted((Path(__file__).parent / "cases").glob("*.py"))
IGNORE = re.compile(r"\s*# type: ignore\[.*\]")

Findings = Mapping[str, Mapping[int, str]]
"""By file name and line: what a checker has to say."""


def write_bare_cases(folder: Path) -> None:
    for case in CASES:
        (folder / case.name).write_text(IGNORE.sub("", case.read_text()))


@pytest.fixture(scope="module")
def mypy(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return read(made_once(tmp_path_factory, "mypy", lambda folder: write(folder, run_mypy(folder))))


def run_mypy(bare_cases: Path) -> Findings:
    write_bare_cases(bare_cases)
    (bare_cases / "mypy.ini").write_text(f"[mypy]\nstrict = True\nmypy_path = {ROOT / 'src'}\n")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--output=json",
        "--cache-dir=cache",
        *(case.name for case in CASES),
    ]
    reports = (json.loads(line) for line in run(command, bare_cases).splitlines())
    return by_line((r["file"], r["line"], r["message"]) for r in reports if r["severity"] == "error")


@pytest.fixture(scope="module")
def pyright(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return read(made_once(tmp_path_factory, "pyright", lambda folder: write(folder, run_pyright(folder))))


def run_pyright(bare_cases: Path) -> Findings:
    write_bare_cases(bare_cases)
    (bare_cases / "pyrightconfig.json").write_text(
        json.dumps({"typeCheckingMode": "strict", "extraPaths": [str(ROOT / "src")]})
    )
    command = [str(ROOT / "node_modules/.bin/pyright"), "--outputjson", "--pythonpath", sys.executable]
    reports: list[dict[str, Any]] = json.loads(run(command, bare_cases))["generalDiagnostics"]
    return by_line(
        (Path(r["file"]).name, r["range"]["start"]["line"] + 1, r["message"])
        for r in reports
        if r["severity"] == "error"
    )


def write(folder: Path, findings: Findings) -> None:
    (folder / "findings.json").write_text(json.dumps(findings))


def read(folder: Path) -> Findings:
    found: dict[str, dict[str, str]] = json.loads((folder / "findings.json").read_text())
    return {name: {int(line): text for line, text in lines.items()} for name, lines in found.items()}


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr  # errors were found, and the checker itself works
    return done.stdout


def by_line(reports: Iterator[tuple[str, int, str]]) -> Findings:
    found: dict[str, dict[int, str]] = {}
    for file, line, message in reports:
        found.setdefault(file, {}).setdefault(line, message)
    return found


def wrong_lines(case: Path) -> list[int]:
    return [number for number, line in enumerate(case.read_text().splitlines(), 1) if IGNORE.search(line)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_exactly_the_wrong_lines_are_reported(
    checker: str, case: Path, request: pytest.FixtureRequest
) -> None:
    findings: Findings = request.getfixturevalue(checker)
    found = findings.get(case.name, {})
    assert sorted(found) == wrong_lines(case), "\n".join(
        f"{line}: {text}" for line, text in sorted(found.items())
    )


def test_there_is_something_to_report() -> None:
    assert [case.stem for case in CASES] == ["broadcasting", "declaring", "events", "expecting", "guarding"]
    assert all(len(wrong_lines(case)) >= 7 for case in CASES)
