"""What a declaration returns follows from what is declared."""

from __future__ import annotations

from typing import Annotated, TypeAlias, assert_type
from uuid import UUID

from flowcraft.channels import Channels
from flowcraft.declarations import Notify, Table
from flowcraft.declared_channels import Channel, ChannelFamily, PresenceChannel, PresenceFamily, RowsChannel
from flowcraft.events import Event
from flowcraft.viewers import Viewer


class RunUpdate(Event):
    run_id: UUID


class StepCompleted(Event):
    step: int


Change: TypeAlias = RunUpdate | StepCompleted

channels = Channels()

assert_type(channels.declare("a_update", RunUpdate), Channel[RunUpdate])
assert_type(channels.declare("b_update", RunUpdate | StepCompleted), Channel[RunUpdate | StepCompleted])
assert_type(channels.declare("c_update", Change), Channel[RunUpdate | StepCompleted])
assert_type(channels.declare("d_update", Annotated[RunUpdate, "remark"]), Channel[RunUpdate])
assert_type(channels.declare("e.{id}", RunUpdate, params={"id": UUID}), ChannelFamily[UUID, RunUpdate])
assert_type(
    channels.declare("f.{id}", Change, params={"id": int}), ChannelFamily[int, RunUpdate | StepCompleted]
)
assert_type(channels.declare("g.{id}", RunUpdate, params={"id": str}), ChannelFamily[str, RunUpdate])
assert_type(channels.declare("h.{id}", RunUpdate, params={"id": str})("x"), Channel[RunUpdate])
channels.declare("i_update", RunUpdate, source=Table("runs", event=RunUpdate, on=["delete"], run_id="id"))
channels.declare("j_update", RunUpdate, source=[Table("runs"), Table("old_runs")])
channels.declare("k_update", RunUpdate, source=Notify("runs"), durable=False)
assert_type(channels.declare("m_update", RunUpdate, conflate=True), Channel[RunUpdate])
assert_type(
    channels.declare("n.{id}", RunUpdate, params={"id": int}, conflate="run_id"),
    ChannelFamily[int, RunUpdate],
)


class Person(Event):
    id: str


run = channels.declare("o.{id}", RunUpdate, params={"id": int}, presence=Person)
assert_type(run, PresenceFamily[int, RunUpdate, Person])
assert_type(run(7), PresenceChannel[RunUpdate, Person])
assert_type(run(7).members, RowsChannel[Person])
lobby = channels.declare("p_update", RunUpdate, presence=Person)
assert_type(lobby, PresenceChannel[RunUpdate, Person])
as_channel: Channel[RunUpdate] = lobby


@run.present
def shown(viewer: Viewer) -> Person | None:
    return Person(id=viewer.subject) if viewer.subject else None


@lobby.present
async def shown_later(viewer: Viewer) -> Person:
    return Person(id=viewer.subject)


@run.present  # type: ignore[arg-type]
def another(viewer: Viewer) -> RunUpdate | None:
    return None


channels.declare("l_update", RunUpdate, presence=Person(id="a"))  # type: ignore[call-overload]
channels.declare("l_update", RunUpdate, conflate=["run_id"])  # type: ignore[call-overload]
channels.declare("l_update")  # type: ignore[call-overload]
channels.declare("l_update", RunUpdate(run_id=UUID(int=1)))  # type: ignore[call-overload]
channels.declare("l.{id}", RunUpdate, params={"id": bytes})  # type: ignore[type-var]
channels.declare("l.{id}", RunUpdate, params=UUID)  # type: ignore[call-overload]
channels.declare("l_update", RunUpdate, source="runs")  # type: ignore[arg-type]
channels.declare("l_update", RunUpdate, durable="no")  # type: ignore[call-overload]
Table("runs", on=["truncate"])  # type: ignore[list-item]
Table("runs", run_id=1)  # type: ignore[arg-type]
