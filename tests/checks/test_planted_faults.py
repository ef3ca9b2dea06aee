"""Each fault is planted into a copy of the example, found where it is, and explained."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.checks.project import API, WEB, Project

CHANNELS = f"{API}/core/domain/channels.py"
EVENTS = f"{API}/core/domain/events.py"
RUN_LOG = f"{API}/core/services/run_log.py"

GENERATED = f"{WEB}/src/realtime.gen.ts"
OUTCOMES = f"{WEB}/src/features/runs/hooks/use-run-outcomes.ts"
OUTCOMES_VIEW = f"{WEB}/src/features/runs/run-outcomes.tsx"
USE_RUN = f"{WEB}/src/features/run/hooks/use-run.ts"
USE_RUNS = f"{WEB}/src/features/runs/hooks/use-runs.ts"
RUNS = f"{WEB}/src/features/runs/runs.ts"
USE_FLOWS = f"{WEB}/src/features/flows/hooks/use-flows.ts"
USE_ANNOUNCEMENTS = f"{WEB}/src/features/system/hooks/use-announcements.ts"


@dataclass(frozen=True, slots=True)
class Fault:
    """Edits of files; then the check that finds it, the file and the text on its line, and words it says."""

    edits: tuple[tuple[str, str, str], ...]
    check: str
    file: str
    at: str
    says: tuple[str, ...]
    also: frozenset[str] = frozenset()


def fault(
    file: str, old: str, new: str, *more: tuple[str, str, str], check: str, at: str, says: str, **other: str
) -> Fault:
    also = frozenset(other.get("also", "").split())
    return Fault(
        ((file, old, new), *more), check, other.get("in_file", file), at, tuple(says.split(" … ")), also
    )


SERVICE = {
    "an event type that is not defined": fault(
        EVENTS,
        "class DashboardUpdate(Event)",
        "class DashboardUpdated(Event)",
        check="FC001",
        in_file=CHANNELS,
        at="from examples.flowcraft.api.core.domain.events import (",
        says="cannot import name 'DashboardUpdate'",
    ),
    "an event that is no event": fault(
        EVENTS,
        "class Announcement(Event)",
        "class Announcement",
        check="FC001",
        in_file=CHANNELS,
        at="announcement_rows = channels.rows(",
        says="Announcement cannot be a channel's payload; use a subclass of flowcraft.Event",
    ),
    "a name outside the convention": fault(
        CHANNELS,
        'declare("run_update"',
        'declare("run_updates"',
        check="FC001",
        at='declare("run_updates"',
        says="breaks the naming convention: '<entity>_update'",
    ),
    "a source with a field that the event does not have": fault(
        CHANNELS,
        'source=Table("runs", run_id="id")',
        'source=Table("runs", run="id")',
        check="FC001",
        at="run_update = ",
        says="RunUpdate has no field 'run'; it has run_id",
    ),
    "a family without its parameter": fault(
        CHANNELS,
        '    params={"run_id": UUID},\n    source',
        "    source",
        check="FC001",
        at="run = channels.declare(",
        says="needs params={'run_id': UUID}",
    ),
    "a name that TypeScript cannot tell from another": fault(
        CHANNELS,
        "\nrun = channels",
        '\nother = channels.declare("run__update", Announcement)\nrun = channels',
        check="FC001",
        at='channels.declare("run__update"',
        says="are both channel.runUpdate in TypeScript; rename one",
    ),
    "a service that is no Python": fault(
        RUN_LOG,
        "line = await tx",
        "line = = await tx",
        check="FC002",
        at="line = = await",
        says="this file is not valid Python",
    ),
    "a broadcast to a channel that is not declared": fault(
        RUN_LOG,
        "channels.run(run_id), line",
        "channels.sistem, line",
        check="FC003",
        at="await self._realtime.broadcast",
        also="FC006",
        says="has no channel sistem; it has run_update, run",
    ),
    "a broadcast that is never awaited": fault(
        RUN_LOG,
        "await self._realtime.broadcast",
        "self._realtime.broadcast",
        check="FC004",
        at="self._realtime.broadcast",
        says="this broadcast on runs.{run_id} is never awaited … `await`",
    ),
    "a broadcast of another channel's event": fault(
        RUN_LOG,
        "channels.run(run_id), line,",
        "channels.run_update, LogLine(text=text),",
        (RUN_LOG, "import LogLevel", "import LogLevel, LogLine"),
        check="FC005",
        at="await self._realtime.broadcast",
        also="FC006",
        says="run_update carries RunUpdate, not LogLine; broadcast one of these",
    ),
    "a channel that no service broadcasts": fault(
        CHANNELS,
        "\nrun = channels",
        '\nsystem = channels.declare("system", LogLine)\nrun = channels',
        check="FC006",
        at='channels.declare("system"',
        says="system has no source and no broadcast; … realtime.broadcast(...) in a service",
    ),
    "an event that no service broadcasts any more": fault(
        RUN_LOG,
        "await self._realtime.broadcast(channels.run(run_id), line, via=tx.connection)",
        "assert line",
        check="FC006",
        in_file=CHANNELS,
        at="run = channels.declare(",
        says="LogLine on runs.{run_id} has no source … realtime.broadcast(...) in a service",
    ),
    "a channel that has lost its source": fault(
        CHANNELS,
        ', source=Table("runs", run_id="id")',
        "",
        check="FC006",
        at='channels.declare("run_update"',
        says="run_update has no source … source=Table(...)",
    ),
}

PAGES = {
    "a component that does not parse": fault(
        USE_RUNS,
        "return useRows",
        "return = useRows",
        check="FC011",
        at="return = useRows",
        says="this file is not valid TypeScript",
        also="FC011",
    ),
    "generated types that nobody generated": fault(
        GENERATED,
        "// Generated by `flowcraft codegen typescript`; do not edit.",
        "// Ours.",
        check="FC012",
        in_file=f"{WEB}/package.json",
        at="{",
        also="FC022",
        says="was generated from the channels; run `flowcraft codegen typescript examples.flowcraft",
    ),
    "generated types of yesterday": fault(
        EVENTS,
        "    flow_name: str\n",
        "    flow_name: str\n    colour: str\n",
        check="FC013",
        in_file=GENERATED,
        at='  readonly status: "cancelled" | "failed" | "queued"',
        says="should be `readonly colour: string;` … run `flowcraft codegen typescript",
    ),
    "a channel that is misspelt": fault(
        OUTCOMES,
        '"run_update"',
        '"runs_update"',
        check="FC020",
        at='"runs_update"',
        says="channel 'runs_update' is not declared … run_update",
    ),
    "a template that is misspelt": fault(
        USE_RUN,
        "channel.runs(runId)",
        "`run.${runId}`",
        check="FC020",
        at="`run.${runId}`",
        says="channel `run.${…}` is not declared; did you mean runs?",
    ),
    "one of a family, without an id that can be one": fault(
        OUTCOMES,
        '"run_update"',
        '"runs.all"',
        check="FC020",
        at='"runs.all"',
        says="runs.{run_id} takes a UUID, as in channel.runs(…)",
    ),
    "a value for a channel that takes none": fault(
        USE_ANNOUNCEMENTS,
        "channel.announcementRows",
        "`announcement_rows.${location.hash}`",
        check="FC020",
        at="`announcement_rows.${location.hash}`",
        says="announcement_rows is one channel and takes no value",
    ),
    "a name that is a constant in another file": fault(
        OUTCOMES,
        '"run_update"',
        "FINISHED",
        (
            OUTCOMES,
            'import { isFinished } from "../runs";',
            'import { FINISHED, isFinished } from "../runs";',
        ),
        (
            RUNS,
            "export const newestFirst",
            'export const FINISHED = "run_finished_update";\nexport const newestFirst',
        ),
        check="FC020",
        in_file=RUNS,
        at='"run_finished_update"',
        says="is not declared",
    ),
    "a builder that does not exist": fault(
        USE_FLOWS,
        "channel.flowRows",
        "channel.flowsRows",
        check="FC021",
        at="channel.flowsRows",
        says="did you mean channel.flowRows?",
        also="FC022",
    ),
    "a handler that keeps what is gone": fault(
        OUTCOMES,
        "onGone: ({ run_id })",
        "onFresh: ({ run_id })",
        check="FC023",
        at="subscribe(\n",
        says="rows of run_update that are deleted … add { onGone } to subscribe(…)",
    ),
    "a channel that nobody follows": fault(
        USE_ANNOUNCEMENTS,
        "useRows(channel.announcementRows,",
        "useRows(null,",
        check="FC022",
        in_file=CHANNELS,
        at="announcement_rows = channels.rows(",
        says="subscribes to announcement_rows; subscribe in a hook such as features/announcement-rows/",
    ),
    "a channel that nobody surely follows": fault(
        USE_ANNOUNCEMENTS,
        "channel.announcementRows",
        "chosen()",
        check="FC022",
        in_file=CHANNELS,
        at="announcement_rows = channels.rows(",
        says="subscribes to announcement_rows (examples/ … use-announcements.ts:7 may: "
        "its channel is unknown)",
    ),
    "a subscription in a component": fault(
        OUTCOMES_VIEW,
        "  const toast = useToast();",
        '  useChannel("run_update", f, { onGone: f });\n  const toast = useToast();',
        (
            OUTCOMES_VIEW,
            "import { paths }",
            'import { useChannel } from "@flowcraft/realtime/react";\nimport { paths }',
        ),
        check="FC040",
        at='useChannel("run_update"',
        says="is outside a feature's hooks; move it … hooks/use-<feature>.ts",
    ),
    "a hook of another name than its file": fault(
        USE_RUN,
        "export function useRun(",
        "export function useOneRun(",
        check="FC042",
        at="useOneRun",
        says="use-run.ts exports useOneRun, not useRun",
    ),
}


def _assert_found(project: Project, planted: Fault, *arguments: str) -> None:
    for edit in planted.edits:
        project.edit(*edit)
    findings = project.findings(*arguments)
    assert {found["id"] for found in findings} <= {planted.check, *planted.also}, findings
    found = next((found for found in findings if found["id"] == planted.check), None)
    assert found is not None, findings
    assert (found["file"], found["line"]) == (planted.file, project.line_of(planted.file, planted.at))
    for words in planted.says:
        assert words in found["message"]


@pytest.mark.parametrize("planted", SERVICE.values(), ids=SERVICE)
def test_a_fault_of_the_service_is_found_and_explained(service: Project, planted: Fault) -> None:
    _assert_found(service, planted)


@pytest.mark.parametrize("planted", PAGES.values(), ids=PAGES)
def test_a_fault_of_the_pages_is_found_and_explained(project: Project, planted: Fault) -> None:
    _assert_found(project, planted)


def test_a_hook_in_a_file_of_another_name_is_told_the_name(project: Project) -> None:
    moved = f"{WEB}/src/features/run/hooks/useRun.ts"
    (project.folder / USE_RUN).rename(project.folder / moved)
    (found,) = project.findings()
    assert (found["id"], found["file"], found["line"]) == ("FC041", moved, 1)
    assert "rename useRun to use-run" in found["message"]


def test_nothing_is_found_in_the_example(whole: Project) -> None:
    result = whole.check()
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        "not checked: the database: no address is configured; use --dsn, or set DATABASE_URL",
        "no problems found in 17 checks",
    ]
    assert result.exit_code == 0
