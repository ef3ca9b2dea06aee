"""`flowcraft channel show`: all about one channel."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner, Result

from flowcraft.entrypoints.cli import app
from tests.scaffolding.conftest import TARGET


def show(name: str, target: str = TARGET) -> Result:
    return CliRunner().invoke(app, ["channel", "show", target, name], prog_name="flowcraft")


RUN_UPDATE = """\
run_update: RunUpdate
  delivery  exactly once and in order, as long as the client's cursor is inside the log
  guard     none: open to all
  source    rows of runs (insert/update) become RunUpdate, run_id from id
  presence  the members are on run_update_members, shown as examples.flowcraft.api.core.domain.channels.visitor

RunUpdate, JSON fields:
  run_id: UUID
  number: int
  flow_id: str
  flow_name: str
  status: Literal['queued', 'running', 'succeeded', 'failed', 'cancelled']
  progress: Annotated[int, msgspec.Meta(ge=0, le=100)]
  attempt: int
  current_step: str | None
  cancel_requested: bool
  triggered_by: Literal['person', 'schedule']
  error: str | None
  created_at: datetime
  started_at: datetime | None
  finished_at: datetime | None
  retry_at: datetime | None
  version: int

TypeScript:
  /** A run as it is now. `version` grows by one with every change of the row. */
  export type RunUpdate = {
    readonly type: "RunUpdate";
    /** @format uuid */
    readonly run_id: string;
    readonly number: number;
    readonly flow_id: string;
    readonly flow_name: string;
    readonly status: "cancelled" | "failed" | "queued" | "running" | "succeeded";
    readonly progress: number;
    readonly attempt: number;
    readonly current_step: string | null;
    readonly cancel_requested: boolean;
    readonly triggered_by: "person" | "schedule";
    readonly error: string | null;
    /** @format date-time */
    readonly created_at: string;
    /** @format date-time */
    readonly started_at: string | null;
    /** @format date-time */
    readonly finished_at: string | null;
    /** @format date-time */
    readonly retry_at: string | null;
    readonly version: number;
  };
  useEffect(() => subscribe("run_update", (event) => …), [subscribe]);

SQL:
  update runs set id = id;
  select flowcraft.broadcast('run_update', '{"type": "RunUpdate", \
"run_id": "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "number": 7, "flow_id": "flow_id", \
"flow_name": "flow_name", "status": "queued", "progress": 0, "attempt": 7, \
"current_step": "current_step", "cancel_requested": true, "triggered_by": "person", \
"error": "error", "created_at": "2026-11-22T20:13:00Z", "started_at": "2026-11-22T20:13:00Z", \
"finished_at": "2026-11-22T20:13:00Z", "retry_at": "2026-11-22T20:13:00Z", "version": 7}');

Python:
  await realtime.broadcast(run_update, \
RunUpdate(run_id=UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), number=7, flow_id="flow_id", \
flow_name="flow_name", status="queued", progress=0, attempt=7, current_step="current_step", \
cancel_requested=True, triggered_by="person", error="error", created_at=datetime(2026, 11, 22, 20, \
13, tzinfo=UTC), started_at=datetime(2026, 11, 22, 20, 13, tzinfo=UTC), finished_at=datetime(2026, \
11, 22, 20, 13, tzinfo=UTC), retry_at=datetime(2026, 11, 22, 20, 13, tzinfo=UTC), version=7))
"""  # noqa: E501  # as it is printed


def test_a_channel_is_shown_with_an_example_for_each_language() -> None:
    assert (show("run_update").exit_code, show("run_update").stdout) == (0, RUN_UPDATE)


@pytest.mark.parametrize(
    "name",
    ["runs.{run_id}", "runs", "runs.6ba7b810-9dad-11d1-80b4-00c04fd430c8"],
    ids=["declared", "prefix", "one"],
)
def test_a_family_is_found_by_its_name_its_prefix_or_one_of_it(name: str) -> None:
    text = show(name).stdout
    assert text.startswith("runs.{run_id}: RunUpdate | LogLine\n  one channel for each run_id, a UUID\n")
    assert "  source    rows of runs (insert/update) become RunUpdate, run_id from id\n" in text
    assert "subscribe(channel.runs(runId), (event) => …)" in text


def test_a_channel_that_is_not_declared_is_told_with_the_likely_one() -> None:
    result = show("runs_update")
    assert (result.exit_code, result.stderr) == (
        1,
        "error: channel 'runs_update' is not declared; did you mean 'run_update'?\n",
    )


@pytest.mark.parametrize("command", ["add", "show"])
def test_help_has_an_example(command: str) -> None:
    result = CliRunner().invoke(app, ["channel", command, "--help"], prog_name="flowcraft")
    assert re.search(rf"Example:\n    flowcraft channel {command} ", result.stdout)


def test_a_channel_of_rows_is_shown_as_such() -> None:
    shown = show("team_task_rows", "faults.app:channels").stdout
    assert "  source    the rows of tasks where not hidden, known by id\n" in shown
    assert "  const { rows, fresh } = useRows(channel.teamTaskRows(team));\n" in shown
    assert "broadcast" not in shown
    listed = CliRunner().invoke(app, ["channel", "list", "faults.app:channels"]).stdout
    assert "rows of tasks where not hidden" in listed
