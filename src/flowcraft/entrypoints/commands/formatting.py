"""Formatting: run the project's formatter on new files, and on those that it had formatted before."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from flowcraft.scaffolding.edits import Edit

_OF_PAGES = (".ts", ".tsx", ".js", ".jsx", ".mts", ".mjs")
_SETTINGS_OF_BIOME = ("biome.json", "biome.jsonc")


@cache
def formatted(path: Path, text: str) -> str:
    """Return a text as the project's formatter writes it: ruff, Biome or Prettier; unchanged without one."""
    for command in _commands(path):
        done = subprocess.run(  # noqa: S603  # the project's formatter, on generated text
            command,
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
    """Return an edit with the formatter's changes, if that had formatted the file before the edit."""
    if not edit.changes or edit.before is None or formatted(edit.path, edit.before) != edit.before:
        return edit
    return Edit(edit.step, edit.path, edit.before, formatted(edit.path, edit.after))


def formatted_again(edits: Sequence[Edit]) -> list[Edit]:
    """Return ruff's changes to new files once they are written: it sorts imports by the modules it finds."""
    formatted.cache_clear()
    again = [Edit(e.step, e.path, e.after, formatted(e.path, e.after)) for e in edits if e.before is None]
    return [edit for edit in again if edit.changes]


def _commands(path: Path) -> list[list[str]]:
    if path.suffix == ".py":
        ruff = _ruff()
        named = ("--quiet", "--stdin-filename", str(path), "-")
        sort = ("check", "--select", "I", "--fix", "--exit-zero")
        return [] if ruff is None else [[ruff, *sort, *named], [ruff, "format", *named]]
    if path.suffix not in _OF_PAGES:
        return []
    package = next((folder for folder in path.parents if (folder / "package.json").is_file()), None)
    tool = None if package is None else _tool_of(package)
    installed = () if package is None or tool is None else (package, *package.parents)
    program = next((p for f in installed if (p := f / "node_modules" / ".bin" / f"{tool}").exists()), None)
    if program is None:
        return []
    if tool == "prettier":
        return [[str(program), "--stdin-filepath", str(path)]]
    return [[str(program), "check", "--write", "--linter-enabled=false", f"--stdin-file-path={path}"]]


def _tool_of(package: Path) -> str | None:
    """Return the formatter of a page: Biome or Prettier, by its settings or its dependencies."""
    if any((folder / name).exists() for folder in (package, package.parent) for name in _SETTINGS_OF_BIOME):
        return "biome"
    text = (package / "package.json").read_text("utf-8", "replace")
    has_settings = any(package.glob(".prettierrc*")) or any(package.glob("prettier.config.*"))
    return "prettier" if has_settings or '"prettier"' in text else None


def _ruff() -> str | None:
    beside = Path(sys.executable).parent / "ruff"
    return str(beside) if beside.exists() else shutil.which("ruff")
