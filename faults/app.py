"""What the fault harness serves: `flowcraft serve faults.app:realtime`, on DATABASE_URL.

FLOWCRAFT_HARNESS holds, as JSON, the settings of this server and the damage that it is to do to itself.
"""

from __future__ import annotations

import os

import msgspec

from faults.damage import Damage
from flowcraft import Channels, Event, Int64, Realtime, Settings, Table


class Change(Event):
    """A row as a commit left it; `row` and `version` distinguish one event from all others of its channel."""

    row: int | str
    version: int
    pad: str = ""


class Task(Event):
    """A row of the table that pages show."""

    id: int
    team: int | None
    title: str
    pad: str


class Tree(msgspec.Struct, frozen=True):
    """A value within a value."""

    name: str
    below: Tree | None = None


class Document(Event):
    """A payload with everything that JSON can spoil on its way."""

    row: int | str
    version: int
    text: str
    number: int
    large: Int64
    nested: Tree | None = None


channels = Channels()
item_update = channels.declare("item_update", Change, source=Table("items", row="id"))
lane = channels.declare("lanes.{lane}", Change, params={"lane": int})
bulk_update = channels.declare("bulk_update", Change)
document_update = channels.declare("document_update", Document)
task_rows = channels.rows("task_rows", Task, table="tasks", key="id", where="not hidden")
team_task_rows = channels.rows(
    "team_task_rows.{team}", Task, table="tasks", key="id", params={"team": int}, where="not hidden"
)
dashboard = channels.declare("dashboard", Change, conflate="row")

harness = msgspec.json.decode(os.environ.get("FLOWCRAFT_HARNESS", "{}"))
# All clients of a run have one address and one viewer, and races subscribe as fast as they can.
MANY = {"connections_per_address": 100_000, "connections_per_viewer": 100_000, "messages_at_once": 100_000}
RATES = {"messages_per_second": 10_000.0, "joins_per_second": 10_000.0, "received_bytes_per_second": 1e9}
settings = msgspec.convert({"any_origin": True, **MANY, **RATES, **harness.get("settings", {})}, Settings)
realtime = Realtime(channels, dsn=os.environ.get("DATABASE_URL"), settings=settings)
msgspec.convert(harness.get("damage", {}), Damage).inflict()
