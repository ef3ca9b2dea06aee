"""Channels: which events travel where, and where they come from. TypeScript is generated from this module."""

from __future__ import annotations

from uuid import UUID

from examples.flowcraft.api.core.domain.events import (
    Announcement,
    DashboardUpdate,
    FlowUpdate,
    LogLine,
    RunUpdate,
    StepUpdate,
    Visitor,
)
from flowcraft import Channels, Table, Viewer

channels = Channels()

# Rows: every page has the table, exactly. No endpoint reads it, and no code joins it with a stream.
flow_rows = channels.rows("flow_rows", FlowUpdate, table="flows", key="flow_id", columns={"flow_id": "id"})
run_rows = channels.rows("run_rows", RunUpdate, table="runs", key="run_id", columns={"run_id": "id"})
step_rows = channels.rows(
    "step_rows.{run_id}", StepUpdate, table="steps", key=("run_id", "position"), params={"run_id": UUID}
)
dashboard_rows = channels.rows("dashboard_rows", DashboardUpdate, table="measurements", key="at")
announcement_rows = channels.rows(
    "announcement_rows",
    Announcement,
    table="announcements",
    key="announcement_id",
    columns={"announcement_id": "id"},
)

# Events that come from rows: whether this service or psql changes the row, the event is in the same commit.
# Who looks at all runs, on the dashboard, is present here.
run_update = channels.declare("run_update", RunUpdate, source=Table("runs", run_id="id"), presence=Visitor)

# Both kinds of events: those of the run's row, and log lines, which the service that stores them broadcasts.
# A log has no end, so it is no channel of rows: a page shows the last lines of it.
run = channels.declare(
    "runs.{run_id}",
    RunUpdate | LogLine,
    params={"run_id": UUID},
    source=Table("runs", event=RunUpdate, run_id="id"),
    presence=Visitor,
)


@run_update.present
@run.present
def visitor(viewer: Viewer) -> Visitor:
    """Return as whom a viewer is shown to the others on the page."""
    return Visitor(id=UUID(viewer.subject), name=str(viewer.claims["name"]))
