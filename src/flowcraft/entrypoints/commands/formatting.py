"""Polish: format Python with ruff where the project has it, and only what was formatted that way before."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from flowcraft.scaffolding.edits import Edit


def polished(path: Path, text: str) -> str:
    """Return a text as ruff would have it; as it is if that is not Python, or there is no ruff."""
    ruff = _ruff()
    if path.suffix != ".py" or ruff is None:
        return text
    for command in (["check", "--select", "I", "--fix", "--exit-zero"], ["format"]):
        done = subprocess.run(  # noqa: S603  # a formatter that was found, on a text of ours
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


def polished_edit(edit: Edit) -> Edit:
    """Return an edit of a file that ruff had formatted as ruff would have it."""
    if not edit.changes or edit.before is None or polished(edit.path, edit.before) != edit.before:
        return edit
    return Edit(edit.step, edit.path, edit.before, polished(edit.path, edit.after))


def settled(edits: Sequence[Edit]) -> list[Edit]:
    """Return what ruff would change in new files now: it sorts imports by the modules that it finds."""
    again = [Edit(e.step, e.path, e.after, polished(e.path, e.after)) for e in edits if e.before is None]
    return [edit for edit in again if edit.changes]


def _ruff() -> str | None:
    beside = Path(sys.executable).parent / "ruff"
    return str(beside) if beside.exists() else shutil.which("ruff")
