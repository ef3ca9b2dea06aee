"""The command's help: every command has examples that it understands, and says what its exit status means."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from flowcraft import Channels, Realtime
from flowcraft.entrypoints.cli import app

STATUSES = re.compile(r"Exit status: 0 .+; 1 .+; 2 usage error\.$")


def walk(words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield words
    for name in inside(command_of(words)):
        yield from walk((*words, name))


def inside(command: object) -> dict[str, Any]:
    """The commands of a group, by name."""
    if not isinstance(command, click.Group):
        return {}
    context = click.Context(command)
    return {name: command.get_command(context, name) for name in command.list_commands(context)}


def command_of(words: tuple[str, ...]) -> Any:
    found: Any = app
    for word in words:
        found = inside(found)[word]
    return found


ALL = list(walk())


def help_of(command: tuple[str, ...]) -> tuple[str, str]:
    """What help says, before its examples and from them on."""
    done = CliRunner().invoke(app, [*command, "--help"], prog_name="flowcraft", env={"COLUMNS": "200"})
    assert done.exit_code == 0
    before, heading, after = done.stdout.partition("Example:")
    assert heading
    return before, after


def understood(line: str) -> tuple[str, ...]:
    """Parse the part of a shell's line that is this command; return which command it was."""
    (part,) = (part for part in re.split(r" (?:\||&&) ", line) if "flowcraft " in part)
    _, *words = shlex.split(part[part.index("flowcraft ") :])
    name: tuple[str, ...] = ()
    while inside(command_of(name)):
        name = (*name, words.pop(0))
    command_of(name).make_context(" ".join(name), words)  # raises where it would end with status 2
    return name


def test_the_walk_finds_groups_and_what_is_in_them() -> None:
    assert {(), ("serve",), ("channel",), ("channel", "add"), ("codegen", "asyncapi")} <= set(ALL)


def test_the_commands_are_in_sections_of_what_they_are_for() -> None:
    text = CliRunner().invoke(app, ["--help"], prog_name="flowcraft").stdout
    sections = re.findall(r"^(Start|Develop|Operate):\n((?:  .*\n)+)", text, re.MULTILINE)
    listed = [(name, re.findall(r"^  (\w+)", lines, re.MULTILINE)) for name, lines in sections]
    assert [name for name, _ in listed] == ["Start", "Develop", "Operate"]
    assert listed[0][1][0] == "init"
    assert sorted(command for _, commands in listed for command in commands) == sorted(inside(app))


@pytest.mark.parametrize("command", ALL, ids=lambda words: " ".join(words) or "flowcraft")
def test_every_command_has_examples_of_itself_that_it_understands(command: tuple[str, ...]) -> None:
    examples = re.findall(r"^ +(\S.*flowcraft .*|flowcraft .*)$", help_of(command)[1], re.MULTILINE)
    assert examples
    for line in examples:
        assert understood(line)[: len(command)] == command


@pytest.mark.parametrize("command", ALL, ids=lambda words: " ".join(words) or "flowcraft")
def test_every_command_says_what_its_exit_statuses_mean(command: tuple[str, ...]) -> None:
    assert STATUSES.search(" ".join(help_of(command)[1].split()))


@pytest.mark.parametrize("command", ALL, ids=lambda words: " ".join(words) or "flowcraft")
def test_every_command_and_option_has_a_sentence(command: tuple[str, ...]) -> None:
    found = command_of(command)
    assert found.help
    for parameter in found.params:
        hidden = getattr(parameter, "hidden", False) or parameter.name == "help"
        assert hidden or getattr(parameter, "help", None), f"{parameter.name} has no help"


@pytest.mark.parametrize("command", ALL, ids=lambda words: " ".join(words) or "flowcraft")
def test_an_option_that_is_none_ends_every_command_with_status_2(command: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*command, "--no-such-option"], prog_name="flowcraft")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "No such option" in done.stderr


@pytest.fixture(autouse=True)
def same_sys_path() -> Iterator[None]:
    path = list(sys.path)
    yield
    sys.path[:] = path


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("nonsense", "is not a URL"),
        ("mysql+pymysql://localhost/app", "begins with 'mysql+pymysql'"),
        ("postgresql+asyncpg://one:543a/app", "has a port that is not a number"),
        ("postgresql://me:secret@one:5432,two:543a/app", "has a port that is not a number"),
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        ["migrate", "tests.codegen.typescript_sample:channels"],
        ["serve", "tests.codegen.typescript_sample:channels", "--port", "0"],
        ["broadcast", "tests.codegen.typescript_sample:channels", "typing_update", '{"user": "ada"}'],
        ["check", "tests.codegen.typescript_sample:channels"],
        ["tail"],
        ["doctor"],
        ["purge", "--all"],
        ["bench"],
    ],
    ids=lambda words: words[0],
)
def test_an_address_that_no_database_can_have_is_told_at_once_and_without_its_password(
    command: list[str], address: str, text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLOWCRAFT_DSN", raising=False)
    monkeypatch.setenv("DATABASE_URL", address)
    done = CliRunner().invoke(app, command, prog_name="flowcraft")
    assert done.exit_code in (1, 2)
    remedy = "write postgresql://user:password@host:5432/name"
    assert done.stderr.splitlines()[-1] == f"error: the database's address {text}; {remedy}"
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    "address",
    ["postgresql://[::1]:5432/x", "postgres://me@/x?host=/tmp&port=1", "postgresql://a,b:1/x?user=a@b"],
)
def test_an_address_that_a_database_can_have_is_taken(address: str) -> None:
    assert Realtime(Channels(), dsn=address).dsn == address


@pytest.mark.parametrize("command", ["doctor", "bench --channel a_update --payload {}"])
@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1/realtime", "ws://"])
def test_what_is_not_the_address_of_a_websocket_is_not_understood(command: str, url: str) -> None:
    done = CliRunner().invoke(app, [*command.split(), "--url", url], prog_name="flowcraft")
    told = f"error: --url: {url!r} is not of the form ws://127.0.0.1:8400/realtime\n"
    assert (done.exit_code, done.stderr) == (2, told)
