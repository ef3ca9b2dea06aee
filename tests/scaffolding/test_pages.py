"""The tutorial and the skill do what they say: a test follows them, block by block."""

from __future__ import annotations

import ast
import re
import shlex
from dataclasses import dataclass

import pytest

from flowcraft.scaffolding.python_text import with_import
from tests.scaffolding.conftest import REPOSITORY, Copy, execute

_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
TUTORIAL = REPOSITORY / "docs/tutorials/add-a-channel.md"
SKILL = REPOSITORY / "skills/add-websocket-channel/SKILL.md"


@dataclass(frozen=True)
class Block:
    language: str
    title: str
    text: str


def blocks(text: str) -> list[Block]:
    return [Block(*groups) for groups in _BLOCK.findall(text)]


def follow(copy: Copy, block: Block) -> str:
    """Do what a block says: run its commands, or put its text into the file that it names."""
    if block.language == "bash":
        return "".join(_run(copy, line) for line in block.text.splitlines())
    file = copy.root / block.title
    if file.exists():
        file.write_text(_joined(file.read_text("utf-8"), block.text), "utf-8")
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.text, "utf-8")
    return ""


def _run(copy: Copy, line: str) -> str:
    done = copy.process(*shlex.split(line))
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


def _joined(text: str, addition: str) -> str:
    """Add to a module as a person does: imports above, the rest at the end."""
    for node in ast.parse(addition).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            text = with_import(text, node.module, *(alias.name for alias in node.names))
    rest = [line for line in addition.splitlines() if not line.startswith("from ")]
    return f"{text.rstrip()}\n\n\n{chr(10).join(rest).strip()}\n"


def types(copy: Copy) -> str:
    return (copy.web / "src/realtime.gen.ts").read_text("utf-8")


@pytest.fixture
def known(copy: Copy, tables: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DATABASE_URL", tables)
    copy.database = tables
    return tables


def test_the_tutorial_comes_to_the_same_by_command_and_by_hand(
    copy: Copy, known: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    by_command, _, by_hand = TUTORIAL.read_text("utf-8").partition("## Add the channel by hand")
    other = Copy(tmp_path_factory.mktemp("other"))
    other.database = known
    for block in blocks(by_hand):
        follow(other, block)
    first, alerts = blocks(by_command)
    follow(copy, first)
    assert types(copy) == types(other)
    before = copy.texts()
    follow(copy, alerts)
    assert "examples/flowcraft/api/core/services/alert.py" in copy.changed_since(before)


@pytest.mark.world
def test_the_skill_works_step_by_step(copy: Copy, known: str) -> None:
    said = [follow(copy, block) for block in blocks(SKILL.read_text("utf-8"))]
    assert "no problems found" in said[-1]
    assert "measurement_update" in types(copy)
    execute(known, "insert into measurements values (now(), 1, 1, 1, 1, 1, 1)")
    told = "select from flowcraft.event where channel = 'measurement_update'"
    execute(known, f"do $$ begin assert exists ({told}); end $$")


def test_the_skill_names_only_options_that_there_are(copy: Copy) -> None:
    helped = copy.process("flowcraft", "channel", "add", "--help").stdout
    named = re.findall(r"(?<!-)--[a-z][a-z-]*", SKILL.read_text("utf-8"))
    assert {option for option in named if option not in helped} == {"--out", "--root"}
