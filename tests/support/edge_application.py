"""An application with rows, events and ephemeral events, as `flowcraft relay` and edges run it."""

from __future__ import annotations

from flowcraft import Channels, Event, Realtime


class Counted(Event):
    n: int


class Task(Event):
    id: int
    title: str


channels = Channels()
count_update = channels.declare("count_update", Counted)
cursor_update = channels.declare("cursor_update", Counted, durable=False)
task_rows = channels.rows("task_rows", Task, table="tasks", key="id")
realtime = Realtime(channels)
