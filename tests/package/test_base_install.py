"""The wheel without an extra: what a server needs, and a sentence about what a developer's command lacks."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.package.serving import APPLICATION
from tests.support.artefacts import SITE, Installation, clean_environment

SERVED = """
import importlib, json, sys
from click.testing import CliRunner
from flowcraft.entrypoints.cli import app

names = ["serve", "worker", "workers", "asgi", "realtime"]
for name in names:
    importlib.import_module(f"flowcraft.entrypoints.{name}")
for words in ("serve live:realtime --port 99999", "migrate live:realtime --sql"):
    CliRunner().invoke(app, words.split())
print(json.dumps([name for name in sys.modules if name.startswith("flowcraft.") or "." not in name]))
"""
DEVELOPING = ("testing", "checking", "scaffolding", "codegen", "adapters.postgres.embedded")
NO_SYSTEM = """
from flowcraft.adapters.postgres.embedded import binaries
from flowcraft.entrypoints.cli import main

binaries.SYSTEM = ()
main()
"""
"""The command on a machine whose system brings no PostgreSQL."""


def test_a_server_is_installed_with_its_own_needs_only(base: Installation) -> None:
    there = {file.name for file in (base.venv / SITE).iterdir()}
    distributions = {name.partition("-")[0].lower() for name in there if name.endswith(".dist-info")}
    needed = {"asyncpg", "click", "flowcraft_realtime", "msgspec", "pyjwt", "typing_extensions", "websockets"}
    of_its_needs = {"cffi", "cryptography", "pycparser"}
    assert distributions - {"uvloop"} == needed | of_its_needs


def test_a_server_loads_none_of_a_developers_tools(base: Installation, tmp_path: Path) -> None:
    (tmp_path / "live.py").write_text(APPLICATION)
    loaded = json.loads(base.run(base.python, "-c", SERVED, cwd=tmp_path).stdout)
    assert {"flowcraft.entrypoints.commands.serve", "flowcraft.adapters.postgres.schema", "live"} <= set(
        loaded
    )
    tools = tuple(f"flowcraft.{name}" for name in DEVELOPING)
    assert [name for name in loaded if name.startswith(tools) or name == "pytest"] == []


@pytest.mark.parametrize(
    "command", [["channel", "add", "order_update", "--table", "orders", "--event", "OrderUpdate"]]
)
def test_a_command_that_lacks_its_extra_names_it(
    base: Installation, tmp_path: Path, command: list[str]
) -> None:
    (tmp_path / "live.py").write_text(APPLICATION)
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations/0001.sql").write_text("create table orders (id int primary key);")
    (tmp_path / "web/src").mkdir(parents=True)
    (tmp_path / "tests").mkdir()
    done = subprocess.run(
        [
            base.python,
            "-c",
            NO_SYSTEM,
            *command,
            "--web",
            "web",
            "--tests",
            "tests",
            "--migrations",
            "migrations",
        ],
        cwd=tmp_path,
        env=clean_environment(PATH="/nowhere"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    (sentence,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert "run `pip install 'flowcraft-realtime[dev]'`" in sentence
    assert sentence.endswith("or use a database that has the tables, with --dsn")
