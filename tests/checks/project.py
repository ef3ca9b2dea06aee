"""A copy of the example that a test may break, and the command run in it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from flowcraft.entrypoints.cli import app

ROOT = Path(__file__).parents[2]
API = "examples/flowcraft/api"
WEB = "examples/flowcraft/web"
TARGET = "examples.flowcraft.api.core.domain.channels:channels"


@dataclass(frozen=True, slots=True)
class Project:
    """The folder of the copy."""

    folder: Path

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace a text that is there once."""
        text = self.read(file)
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {file}"
        self.write(file, text.replace(old, new))

    def read(self, file: str) -> str:
        return (self.folder / file).read_text("utf-8")

    def write(self, file: str, text: str) -> None:
        (self.folder / file).write_text(text, "utf-8")

    def line_of(self, file: str, text: str) -> int:
        """The line on which a text begins."""
        before, found, _ = self.read(file).partition(text)
        assert found, f"{text!r} is not in {file}"
        return before.count("\n") + 1

    def check(self, *arguments: str) -> Result:
        """Run the command here, with the modules of this copy and not those of the repository."""
        with own_modules():
            return CliRunner().invoke(app, ["check", *arguments], prog_name="flowcraft")

    def findings(self, *arguments: str) -> list[dict[str, Any]]:
        """What the command finds, as JSON."""
        result = self.check(TARGET, "--json", *arguments)
        found: list[dict[str, Any]] = json.loads(result.stdout)["findings"]
        assert result.exit_code == (1 if found else 0), result.stderr
        return found


def copied(folder: Path, *, web: bool, without: tuple[str, ...] = ()) -> Project:
    """Copy the example's service, and its pages without some folders: a quicker read."""
    shutil.copytree(ROOT / API, folder / API, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "examples/flowcraft/__init__.py", folder / "examples/flowcraft/__init__.py")
    if web:
        shutil.copytree(ROOT / WEB / "src", folder / WEB / "src", ignore=shutil.ignore_patterns(*without))
        shutil.copy(ROOT / WEB / "package.json", folder / WEB / "package.json")
        (folder / "node_modules").symlink_to(ROOT / "node_modules")
    return Project(folder)


@contextmanager
def own_modules() -> Iterator[None]:
    """Let `examples` be imported anew, and put back what was imported before."""
    path, kept = list(sys.path), _taken_out()
    try:
        yield
    finally:
        _taken_out()
        sys.modules.update(kept)
        sys.path[:] = path


def _taken_out() -> dict[str, Any]:
    names = [name for name in sys.modules if name.partition(".")[0] in ("app", "examples")]
    return {name: sys.modules.pop(name) for name in names}
