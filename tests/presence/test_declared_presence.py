"""Presence in declarations: what it takes, what it gives, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from flowcraft.adapters.memory import MemoryBackend
from flowcraft.channels import Channels
from flowcraft.codegen.typescript import generate_typescript
from flowcraft.declarations import Declaration
from flowcraft.declared_channels import PresenceChannel, PresenceFamily
from flowcraft.errors import DeclarationError
from flowcraft.events import Event
from flowcraft.runtime.serving import Serving
from flowcraft.settings import Settings
from flowcraft.viewers import Viewer

pytestmark = pytest.mark.pure


class Step(Event):
    run_id: int


class Person(Event):
    id: UUID
    name: str


class Nameless(Event):
    name: str


class Typed(Event):
    id: list[int]


@dataclass(frozen=True)
class Plain:
    id: int


def declared() -> tuple[Channels, PresenceFamily[int, Step, Person]]:
    channels = Channels()
    return channels, channels.declare("runs.{run_id}", Step, params={"run_id": int}, presence=Person)


def test_a_channel_with_presence_has_a_second_one_for_its_members() -> None:
    channels, run = declared()
    assert [declaration.name for declaration in channels] == ["runs.{run_id}", "runs_members.{run_id}"]
    members = run(7).members
    assert members.name == "runs_members.7"
    declaration, value = channels.resolve("runs_members.7")
    assert (declaration is members.declaration, value) == (True, 7)
    assert declaration.row_key == ("id",)


def test_a_single_channel_has_members_too() -> None:
    dashboard = Channels().declare("dashboard", Step, presence=Plain)
    assert isinstance(dashboard, PresenceChannel)
    assert dashboard.members.name == "dashboard_members"


def test_the_guard_of_a_channel_is_that_of_its_members() -> None:
    channels, run = declared()

    @run.guard
    def may(viewer: Viewer, run_id: int) -> bool:
        return viewer.subject == str(run_id)

    assert channels.resolve("runs_members.7")[0].guard is may


def test_typescript_has_the_members_as_rows() -> None:
    channels, _ = declared()
    text = generate_typescript(channels)
    assert '[runsMembers: `runs_members.${number | bigint}`]: Rows<Person, "id">;' in text
    assert "runsMembers: (runId: number | bigint) => `runs_members.${runId}` as const," in text


def test_presence_changes_the_hash_of_the_channels() -> None:
    without = Channels()
    without.declare("runs.{run_id}", Step, params={"run_id": int})
    assert without.schema_hash() != declared()[0].schema_hash()


@pytest.mark.parametrize(
    ("name", "presence", "text"),
    [
        ("dashboard", Nameless, "presence=Nameless needs a field 'id' of type str, int or UUID"),
        ("dashboard", Typed, "presence=Typed needs a field 'id' of type str, int or UUID"),
        ("dashboard", Step | Person, "members are of one type"),
        ("dashboard", int, "int cannot be a channel's payload"),
        (f"{'x' * 32}_{'y' * 8}_update", Person, "is longer than 48 characters"),
        ("taken_update", Person, "'taken_update_members' overlaps with 'taken_update_members'"),
    ],
)
def test_what_cannot_be_presence_is_refused(name: str, presence: Any, text: str) -> None:
    channels = Channels()
    channels._declarations["taken_update_members"] = members_of_another()  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(DeclarationError, match=text):
        channels.declare(name, Step, presence=presence)


def members_of_another() -> Declaration:
    return Channels().declare("taken_update", Step, presence=Person).members.declaration


def test_one_function_of_the_viewer_decides() -> None:
    channels, run = declared()
    of_none: Any = lambda: None  # noqa: E731
    with pytest.raises(DeclarationError, match=r"runs\.\{run_id\} has presence, and nothing decides"):
        Serving(channels, MemoryBackend(), settings=Settings())
    with pytest.raises(DeclarationError, match="decided by a function of the viewer alone"):
        run.present(of_none)
    run.present(lambda viewer: None)
    with pytest.raises(DeclarationError, match="has a function for its presence already"):
        run.present(lambda viewer: None)
