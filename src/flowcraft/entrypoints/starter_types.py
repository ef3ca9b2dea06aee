"""Starter types: the TypeScript of the channels that `flowcraft init` declares."""

from __future__ import annotations

from flowcraft.channels import Channels
from flowcraft.codegen.typescript import generate_typescript
from flowcraft.declarations import Table
from flowcraft.events import Event


class TaskUpdate(Event):
    """A row of `tasks` as it is now."""

    task_id: int
    title: str
    done: bool


class Notice(Event):
    """An announcement to all users."""

    text: str


def types_of_a_new_project() -> str:
    """Return the TypeScript of the channels in `templates/service`."""
    channels = Channels()
    channels.declare("task_update", TaskUpdate, source=Table("tasks", task_id="id"))
    return generate_typescript(channels)


def types_of_an_application() -> str:
    """Return the TypeScript of the channels in `templates/added`."""
    channels = Channels()
    channels.declare("system", Notice)
    return generate_typescript(channels)
