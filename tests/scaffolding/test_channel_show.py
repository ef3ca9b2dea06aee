"""`flowcraft channel show`: all about one channel."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner, Result

from flowcraft.entrypoints.cli import app
from tests.scaffolding.conftest import TARGET


def show(name: str, target: str = TARGET) -> Result:
    return CliRunner().invoke(app, ["channel", "show", target, name], prog_name="flowcraft")


FLOW_UPDATE = """\
flow_update: FlowUpdate
  delivery  exactly once and in order, as long as the client's cursor is inside the log
  guard     none: open to all
  source    rows of flows (insert/update) become FlowUpdate, flow_id from id

FlowUpdate, JSON fields:
  flow_id: str
  name: str
  description: str
  steps: list[str]
  paused: bool

TypeScript:
  /** A flow as it is now: what can be run. */
  export type FlowUpdate = {
    readonly type: "FlowUpdate";
    readonly flow_id: string;
    readonly name: string;
    readonly description: string;
    readonly steps: readonly string[];
    readonly paused: boolean;
  };
  useEffect(() => subscribe("flow_update", (event) => …), [subscribe]);

SQL:
  update flows set id = id;
  select flowcraft.broadcast('flow_update', '{"type": "FlowUpdate", "flow_id": "flow_id", "name": "name", \
"description": "description", "steps": ["steps"], "paused": true}');

Python:
  await realtime.broadcast(flow_update, FlowUpdate(flow_id="flow_id", name="name", \
description="description", steps=["steps"], paused=True))
"""


def test_a_channel_is_shown_with_an_example_for_each_language() -> None:
    assert (show("flow_update").exit_code, show("flow_update").stdout) == (0, FLOW_UPDATE)


@pytest.mark.parametrize(
    "name",
    ["runs.{run_id}", "runs", "runs.6ba7b810-9dad-11d1-80b4-00c04fd430c8"],
    ids=["declared", "prefix", "one"],
)
def test_a_family_is_found_by_its_name_its_prefix_or_one_of_it(name: str) -> None:
    text = show(name).stdout
    assert text.startswith(
        "runs.{run_id}: RunUpdate | StepUpdate | LogLine\n  one channel for each run_id, a UUID\n"
    )
    assert "  source    rows of steps (insert/update) become StepUpdate\n" in text
    assert "subscribe(channel.runs(runId), (event) => …)" in text


def test_a_channel_that_is_not_declared_is_told_with_the_likely_one() -> None:
    result = show("flows_update")
    assert (result.exit_code, result.stderr) == (
        1,
        "error: channel 'flows_update' is not declared; did you mean 'flow_update'?\n",
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
