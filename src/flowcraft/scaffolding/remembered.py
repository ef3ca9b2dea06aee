"""Remembered: the places of a project in `[tool.flowcraft]` of its pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from flowcraft.scaffolding.edits import ScaffoldingRefused, text_of
from flowcraft.scaffolding.project_files import files_below

_TABLE = re.compile(r"^\[tool\.flowcraft\]\s*(?:#.*)?$", re.MULTILINE)
_KEYS = ("realtime", "path", "app", "run", "web")


@dataclass(frozen=True, slots=True)
class Remembered:
    """The places: a relative path is one from the folder of the pyproject.toml."""

    folder: Path
    realtime: str | None = None
    """The Realtime or Channels object, as MODULE:ATTRIBUTE."""
    path: str = "."
    """The folder that the modules are imported from."""
    app: str | None = None
    """The ASGI application, as MODULE:ATTRIBUTE."""
    run: str | None = None
    """The command that migrates and serves, where the project has one."""
    web: str | None = None
    """The folder of the web application."""

    @property
    def root(self) -> Path:
        """The folder that the modules are imported from."""
        return (self.folder / self.path).resolve()

    @property
    def web_folder(self) -> Path | None:
        """The folder of the web application, if it is there."""
        folder = None if self.web is None else (self.folder / self.web).resolve()
        return folder if folder is not None and folder.is_dir() else None


def remembered(here: Path) -> Remembered | None:
    """Return what is remembered for a folder: in it or above it, or below it in one place only.

    Raises:
        ScaffoldingRefused: a value is of another type.
    """
    for file in _upward(here):
        if (found := _read(file)) is not None:
            return found
    below = [found for file in files_below(here, "pyproject.toml") if (found := _read(file)) is not None]
    return below[0] if len(below) == 1 else None


def with_remembered(text: str, values: Mapping[str, str]) -> str:
    """Return the text of a pyproject.toml with the values; unchanged if it has the table, or is not TOML."""
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return text
    if _TABLE.search(text) is not None:
        return text
    lines = "".join(f"{key} = {_quoted(values[key])}\n" for key in _KEYS if key in values)
    return f"{text.rstrip()}\n\n[tool.flowcraft]\n{lines}".lstrip()


def _upward(here: Path) -> Iterator[Path]:
    for folder in (here, *here.parents):
        if (folder / "pyproject.toml").is_file():
            yield folder / "pyproject.toml"
        if (folder / ".git").exists():
            return


def _read(file: Path) -> Remembered | None:
    tables = _tables(file)
    tool = (tables or {}).get("tool")
    table: object = cast(dict[str, object], tool).get("flowcraft") if isinstance(tool, dict) else None
    if not isinstance(table, dict):
        return None
    values = cast(dict[str, object], table)
    for key, value in values.items():
        if key not in _KEYS or not isinstance(value, str):
            expected = ", ".join(_KEYS)
            raise ScaffoldingRefused(
                f"{file}: [tool.flowcraft] has texts named {expected}, not {key} = {value!r}"
            )
    return Remembered(file.parent, **cast(dict[str, Any], values))


def _tables(file: Path) -> dict[str, object] | None:
    try:
        return tomllib.loads(text_of(file) or "")
    except (tomllib.TOMLDecodeError, ScaffoldingRefused):
        return None  # its other tools report that


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
