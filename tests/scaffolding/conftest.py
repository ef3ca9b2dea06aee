"""A copy of the example to change, and the command that changes it."""

from __future__ import annotations

import ast
import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest
from click.testing import CliRunner, Result

from flowcraft.entrypoints.cli import app

REPOSITORY = Path(__file__).parents[2]
TARGET = "examples.flowcraft.api.core.domain.channels:channels"
_LEFT_OUT = shutil.ignore_patterns("node_modules", "dist", "__pycache__", ".*")
Run = Callable[..., Result]


class Copy:
    """The example and its tests, in a folder of the test's own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.database: str | None = None
        self.domain = root / "examples/flowcraft/api/core/domain"
        self.web = root / "examples/flowcraft/web"
        self.hooks = self.web / "src/features"
        self.migrations = root / "examples/flowcraft/api/migrations"
        shutil.copytree(REPOSITORY / "examples/flowcraft", root / "examples/flowcraft", ignore=_LEFT_OUT)
        for file in (
            "package.json",
            "pyproject.toml",
            "tsconfig.base.json",
            "conftest.py",
            "tests/support/time_limits.py",
        ):
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / file, root / file)
        for folder in ("node_modules", "src"):
            (root / folder).symlink_to(REPOSITORY / folder)

    def texts(self) -> dict[str, str]:
        """Return every file's text, by its path."""
        return {
            str(file.relative_to(self.root)): file.read_text("utf-8")
            for file in sorted((self.root / "examples").rglob("*"))
            if file.is_file() and "__pycache__" not in file.parts
        }

    def changed_since(self, before: dict[str, str]) -> set[str]:
        """Return the paths of files that are new, changed or gone."""
        now = self.texts()
        return {path for path in now.keys() | before.keys() if now.get(path) != before.get(path)}

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python in the copy."""
        return self.process(sys.executable, *arguments)

    def tool(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a tool of node's in the copy's web folder."""
        return self.process(str(REPOSITORY / "node_modules/.bin" / name), *arguments, where=self.web)

    def process(self, *command: str, where: Path | None = None) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "FLOWCRAFT_DSN")}
        if self.database is not None:
            environment["DATABASE_URL"] = self.database
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        return subprocess.run(
            command, cwd=where or self.root, env=environment, capture_output=True, text=True, check=False
        )

    def remove(self, channel: str, event: str | None = None) -> None:
        """Take a channel, and its event, out of the domain."""
        for file, gone in ((self.domain / "channels.py", channel), (self.domain / "events.py", event)):
            if gone is None:
                continue
            lines = file.read_text("utf-8").splitlines(keepends=True)
            for node in ast.parse("".join(lines)).body:
                if _name(node) == gone:
                    del lines[node.lineno - 1 : node.end_lineno]
                    break
            file.write_text("".join(line for line in lines if line.strip() != f"{gone},"), "utf-8")
        assert self.process("ruff", "format", str(self.domain)).returncode == 0


def _name(node: ast.stmt) -> str:
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return node.name if isinstance(node, ast.ClassDef) else ""


@pytest.fixture
def copy(here: Path) -> Copy:
    return Copy(here)


@pytest.fixture
def tables(database: str) -> str:
    """A database that has the example's tables, and no log."""
    migrations = REPOSITORY / "examples/flowcraft/api/migrations"
    execute(database, *(file.read_text("utf-8") for file in sorted(migrations.glob("*.sql"))))
    return database


def execute(dsn: str, *scripts: str) -> None:
    """Run SQL."""

    async def run() -> None:
        connection = await asyncpg.connect(dsn)
        for script in scripts:
            await connection.execute(script)
        await connection.close()

    asyncio.run(run())


@pytest.fixture
def run(copy: Copy) -> Run:
    """Run the command in the copy."""

    def invoke(*arguments: str, answers: str | None = None) -> Result:
        return CliRunner().invoke(app, ["channel", *arguments], input=answers, prog_name="flowcraft")

    return invoke
