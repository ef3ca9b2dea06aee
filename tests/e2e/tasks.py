"""Lists of tasks, `tests.e2e.tasks:realtime`, on the database that DATABASE_URL names."""

from __future__ import annotations

import os

from flowcraft import Channels, Event, Realtime, Settings


class Task(Event):
    id: int
    team_id: int
    title: str


channels = Channels()
task_rows = channels.rows(
    "task_rows.{team_id}", Task, table="tasks", key="id", params={"team_id": int}, where="not archived"
)
# The page is served by another process, and so from another origin.
settings = Settings(any_origin=True, heartbeat_seconds=2, drain_seconds=0.5)
realtime = Realtime(channels, dsn=os.environ["DATABASE_URL"], settings=settings)
