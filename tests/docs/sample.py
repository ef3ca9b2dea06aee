"""The channels of a page that declares none: its TypeScript is checked against these."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from flowcraft import Channels, Event, Table


class RunUpdate(Event):
    run_id: UUID
    status: Literal["queued", "running", "succeeded", "failed"]


class StepCompleted(Event):
    run_id: UUID
    step: str


class Task(Event):
    id: int
    team_id: int
    title: str
    done: bool


class Person(Event):
    id: str
    name: str


channels = Channels()
run_update = channels.declare("run_update", RunUpdate, source=Table("runs", run_id="id"))
run = channels.declare("runs.{run_id}", RunUpdate | StepCompleted, params={"run_id": UUID}, presence=Person)
task_rows = channels.rows("task_rows.{team_id}", Task, table="tasks", key="id", params={"team_id": int})
