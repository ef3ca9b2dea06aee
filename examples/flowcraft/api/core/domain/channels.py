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
)
from flowcraft import Channels, Table

channels = Channels()

# Rows: every page has the table, exactly. No endpoint reads it, and no code joins it with a stream.
flow_rows = channels.rows("flow_rows", FlowUpdate, table="flows", key="flow_id", columns={"flow_id": "id"})

# Database-driven: whether this service or psql changes the row, the event is in the same commit.
run_update = channels.declare("run_update", RunUpdate, source=Table("runs", run_id="id"))

# Both: the rows of one run come from triggers, its log lines are broadcast by the service that writes them.
run = channels.declare(
    "runs.{run_id}",
    RunUpdate | StepUpdate | LogLine,
    params={"run_id": UUID},
    source=[Table("runs", event=RunUpdate, run_id="id"), Table("steps", event=StepUpdate)],
)

# Service-driven: no row is "the dashboard"; a service computes it.
dashboard = channels.declare("dashboard", DashboardUpdate)
system = channels.declare("system", Announcement)
