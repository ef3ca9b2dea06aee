"""Edits: planned changes of files, shown as diffs and applied all or nothing."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flowcraft.errors import RealtimeError


class ScaffoldingRefused(RealtimeError):
    """The request does not fit the project; nothing was changed."""

    code = "scaffolding_refused"


class PlaceUnknown(ScaffoldingRefused):
    """A place in the project that was not found or is ambiguous; `flag` is the option that names it."""

    code = "place_unknown"

    def __init__(self, flag: str, what: str, candidates: Sequence[str] = (), otherwise: str = "") -> None:
        found = f"found {len(candidates)}: {', '.join(candidates)}" if candidates else "not found"
        super().__init__(f"{what}: {found}; name it with {flag}{otherwise and f', or use {otherwise}'}")
        self.flag = flag
        self.what = what
        self.candidates = tuple(candidates)


@dataclass(frozen=True, slots=True)
class Edit:
    """A file's present text, or None if it does not exist, and its planned text; `step` names the purpose."""

    step: str
    path: Path
    before: str | None
    after: str

    @property
    def changes(self) -> bool:
        """Return whether the planned text differs from the present one."""
        return self.before != self.after

    def diff(self, root: Path) -> str:
        """Return a unified diff, with paths relative to a folder."""
        name = shown(self.path, root)
        lines = difflib.unified_diff(
            (self.before or "").splitlines(keepends=True),
            self.after.splitlines(keepends=True),
            name if self.before is not None else "/dev/null",
            name,
        )
        return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


@dataclass(frozen=True, slots=True)
class Asset:
    """A new binary file."""

    step: str
    path: Path
    content: bytes

    @property
    def changes(self) -> bool:
        """Return whether the file does not exist yet."""
        return not self.path.exists()


def shown(path: Path, root: Path) -> str:
    """Return a path relative to a folder, for output."""
    return os.path.relpath(path, root)


def text_of(path: Path) -> str | None:
    """Return a file's text, or None if the file does not exist."""
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ScaffoldingRefused(f"{path} cannot be read: {error}; nothing was changed") from None


def apply(edits: Sequence[Edit], assets: Sequence[Asset] = ()) -> None:
    """Write every edit and every new asset, or none.

    Raises:
        ScaffoldingRefused: a file has changed since it was planned, or cannot be written.
    """
    for edit in edits:
        if text_of(edit.path) != edit.before:
            raise ScaffoldingRefused(
                f"{edit.path} has changed meanwhile; nothing was changed: run the command again"
            )
    done: list[Edit] = []
    try:
        for edit in edits:
            done.append(edit)
            _write(edit.path, edit.after.encode())
        for asset in (asset for asset in assets if asset.changes):
            done.append(Edit(asset.step, asset.path, None, ""))
            _write(asset.path, asset.content)
    except OSError as error:
        for edit in reversed(done):
            _restore(edit)
        raise ScaffoldingRefused(
            f"{error.filename} cannot be written: {error.strerror}; nothing was changed"
        ) from None


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_bytes(content)
        if path.exists():
            beside.chmod(path.stat().st_mode)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _restore(edit: Edit) -> None:
    if edit.before is None:
        edit.path.unlink(missing_ok=True)
    elif text_of(edit.path) != edit.before:
        _write(edit.path, edit.before.encode())
