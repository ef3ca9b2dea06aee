"""Broadcasts are followed through imports, variables and attributes; the rest is not guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checks.project import Project

CHANNELS = """\
from uuid import UUID
from flowcraft import Channels, Event

class Note(Event):
    note_id: UUID
class Other(Event):
    text: str

channels = Channels()
note = channels.declare("notes.{note_id}", Note, params={"note_id": UUID})
"""

IN = "async def f(rt, i, e):\n    await rt.broadcast"
PRODUCING = {
    "a module's attribute": f"from app import live\n{IN}(live.note(i), e)",
    "a name": f"from app.live import note\n{IN}(note(i), e)",
    "another name": f"from app.live import note as n\n{IN}(n(i), e)",
    "a relative name": f"from .live import note\n{IN}(note(i), e)",
    "a relative module": f"from . import live\n{IN}(live.note(i), e)",
    "the whole path": f"import app.live\n{IN}(app.live.note(i), e)",
    "a keyword": f"from app.live import note\n{IN}(event=e, channel=note(i))",
    "a variable": """\
from app.live import note
async def f(rt, i, e):
    to = note(i)
    await rt.broadcast(to, e)
""",
    "an attribute": """\
from app.live import note
class Service:
    def __init__(self, rt):
        self._to, self._rt = None, rt
        self._notes = note
    async def f(self, i, e):
        await self._rt.broadcast(self._notes(i), e)
""",
    "a task": """\
import asyncio
from app.live import note
async def f(rt, i, e):
    await asyncio.gather(rt.broadcast(note(i), e))
""",
}


@pytest.fixture
def project(here: Path) -> Project:
    (here / "app").mkdir()
    (here / "app/__init__.py").touch()
    (here / "app/live.py").write_text(CHANNELS)
    return Project(here)


def ids(project: Project) -> list[str]:
    result = project.check("app.live:channels")
    return [line.split(" ")[2].rstrip(":") for line in result.stdout.splitlines() if " FC" in line]


@pytest.mark.parametrize("text", PRODUCING.values(), ids=PRODUCING)
def test_a_service_that_broadcasts_produces_the_channel(project: Project, text: str) -> None:
    project.write("app/service.py", text)
    assert ids(project) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from app.live import note\nasync def f(rt, i, e): await rt.send(note(i), e)", ["FC006"]),
        ("async def f(rt, i, e):\n    '''rt.broadcast(note(i), e)'''", ["FC006"]),
        ("from app.live import note\nasync def f(rt, i, e): rt.broadcast(note(i), e)", ["FC004"]),
        (
            "from app import live\nasync def f(rt, i, e): await rt.broadcast(live.nope(i), e)",
            ["FC006", "FC003"],
        ),
        (
            f"from app.live import note, Other\n{IN}(note(i), Other(text=''))",
            ["FC005"],
        ),
    ],
)
def test_what_does_not_broadcast_it_rightly_is_told(project: Project, text: str, expected: list[str]) -> None:
    project.write("app/service.py", text)
    assert ids(project) == expected


def test_a_test_that_broadcasts_produces_nothing(project: Project) -> None:
    (project.folder / "tests").mkdir()
    project.write("tests/helpers.py", PRODUCING["a name"])
    project.write("app/test_service.py", PRODUCING["a name"])
    assert ids(project) == ["FC006"]


def test_a_broadcast_that_cannot_be_followed_is_named_as_a_possibility(project: Project) -> None:
    project.write("app/service.py", "async def f(rt, channel, e): await rt.broadcast(channel, e)")
    message = project.check("app.live:channels").stdout
    assert (
        "notes.{note_id} has no source and no broadcast "
        "(app/service.py:1 may broadcast it: its channel is unknown)" in message
    )
