"""Formatting: run ruff, where the project has it, on Python files that ruff had formatted before."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from flowcraft.scaffolding.edits import Edit


def formatted(path: Path, text: str) -> str:
    """Return a text formatted by ruff; unchanged if it is not Python, or without ruff."""
    ruff = _ruff()
    if path.suffix != ".py" or ruff is None:
        return text
    for command in (["check", "--select", "I", "--fix", "--exit-zero"], ["format"]):
        done = subprocess.run(  # noqa: S603  # the project's formatter, on generated text
            [ruff, *command, "--quiet", "--stdin-filename", path, "-"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            cwd=next((folder for folder in path.parents if folder.is_dir()), None),
        )
        if done.returncode != 0 or not done.stdout:
            return text
        text = done.stdout
    return text


def formatted_edit(edit: Edit) -> Edit:
    """Return an edit with ruff's formatting, if ruff had formatted the file before the edit."""
    if not edit.changes or edit.before is None or formatted(edit.path, edit.before) != edit.before:
        return edit
    return Edit(edit.step, edit.path, edit.before, formatted(edit.path, edit.after))


def formatted_again(edits: Sequence[Edit]) -> list[Edit]:
    """Return ruff's changes to new files once they are written: it sorts imports by the modules it finds."""
    again = [Edit(e.step, e.path, e.after, formatted(e.path, e.after)) for e in edits if e.before is None]
    return [edit for edit in again if edit.changes]


def _ruff() -> str | None:
    beside = Path(sys.executable).parent / "ruff"
    return str(beside) if beside.exists() else shutil.which("ruff")
