"""The wheel, installed where no checkout is in reach: every command, and an event from SQL to a WebSocket."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

import flowcraft
from tests.package.serving import APPLICATION, installed_server
from tests.support.artefacts import ROOT, Installation, WebProject
from tests.support.postgres import connected

EVERY_HELP = """
import click, json
from click.testing import CliRunner
from flowcraft.entrypoints.cli import app

def walk(command, words):
    yield words
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from walk(command.get_command(context, name), [*words, name])

print(json.dumps({" ".join(w): CliRunner().invoke(app, [*w, "--help"]).exit_code for w in walk(app, [])}))
"""
WHERE = """
import json, sys, flowcraft
print(json.dumps([flowcraft.__version__, flowcraft.__file__, *sys.path]))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An application that knows of nothing but what is installed."""
    (tmp_path / "live.py").write_text(APPLICATION)
    return tmp_path


def test_what_runs_is_the_installed_wheel(installation: Installation, project: Path) -> None:
    told = json.loads(installation.run(installation.python, "-c", WHERE, cwd=project).stdout)
    version, file, *path = told
    assert version == flowcraft.__version__
    assert Path(file).is_relative_to(installation.venv)
    assert not [entry for entry in path if Path(entry).is_relative_to(ROOT)]


def test_every_command_has_help(installation: Installation, project: Path) -> None:
    assert "Usage: flowcraft" in installation.run(installation.flowcraft, "--help", cwd=project).stdout
    told = json.loads(installation.run(installation.python, "-c", EVERY_HELP, cwd=project).stdout)
    assert {"", "serve", "migrate", "codegen typescript", "channel add"} <= set(told)
    assert set(told.values()) == {0}


def test_what_is_generated_and_checked_needs_no_checkout(
    installation: Installation, page: WebProject, project: Path
) -> None:
    (project / "web").symlink_to(page.folder)
    generated = ("codegen", "typescript", "live:channels", "--out", "web/realtime.gen.ts")
    installation.run(installation.flowcraft, *generated, cwd=project)
    listed = installation.run(installation.flowcraft, "channel", "list", "live:channels", cwd=project)
    assert "count_update" in listed.stdout
    unused = ("--ignore", "FC006", "--ignore", "FC022")  # nobody states or hears anything here
    checked = installation.run(
        installation.flowcraft, "check", "live:channels", "--web", "web", *unused, cwd=project
    )
    assert "no problems found" in checked.stdout


async def test_an_event_goes_from_sql_to_a_websocket(installation: Installation, project: Path) -> None:
    async with (
        installed_server(installation, project) as (dsn, address),
        connect(address) as socket,
        connected(dsn) as connection,
    ):
        await socket.send(json.dumps({"subscribe": ["count_update"]}))
        async with asyncio.timeout(20):
            while "subscribed" not in json.loads(await socket.recv()):
                pass
            await connection.execute(
                """select flowcraft.broadcast('count_update', '{"type": "Counted", "n": 7}')"""
            )
            while "payload" not in (frame := json.loads(await socket.recv())):
                pass
        assert frame["payload"] == {"type": "Counted", "n": 7}
