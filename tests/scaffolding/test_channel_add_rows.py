"""`flowcraft channel add --rows`: a channel with the rows of a table, its hook, and a test on each side."""

from __future__ import annotations

import pytest

from tests.scaffolding.conftest import Copy, Run

API, SRC = "examples/flowcraft/api", "examples/flowcraft/web/src"
STEPS = ("add", "line_rows.{run_id}", "--rows", "--table", "log_lines", "--event", "LineRow")
COLUMNS = ("--column", "run_id", "--column", "number", "--column", "text")


@pytest.mark.timeout(180)
def test_the_rows_of_a_table_become_a_channel_with_its_hook_and_its_tests(copy: Copy, run: Run) -> None:
    before = copy.texts()
    result = run(*STEPS, *COLUMNS)
    assert result.exit_code == 0, result.output
    assert copy.changed_since(before) == {
        f"{API}/core/domain/events.py",
        f"{API}/core/domain/channels.py",
        f"{SRC}/realtime.gen.ts",
        f"{SRC}/features/log-lines/hooks/use-log-lines.ts",
        f"{SRC}/features/log-lines/hooks/use-log-lines.test.tsx",
        "examples/flowcraft/tests/test_line_rows_channel.py",
    }
    declared = " ".join((copy.domain / "channels.py").read_text("utf-8").split())
    assert (
        'line_rows = channels.rows( "line_rows.{run_id}", LineRow, table="log_lines", '
        'key=("run_id", "number"), params={"run_id": UUID}' in declared
    )
    assert "flowcraft migrate examples.flowcraft.api.core.domain.channels:channels" in result.stdout
    assert "nothing to do" in run(*STEPS, *COLUMNS).stdout
    tested = copy.python("-m", "pytest", "-q", "examples/flowcraft/tests/test_line_rows_channel.py")
    assert tested.returncode == 0, tested.stdout
    typed = copy.tool("tsc", "-p", "tsconfig.json")
    assert typed.returncode == 0, typed.stdout
    pages = copy.tool("vitest", "run", "--root", ".", "src/features/log-lines/hooks/use-log-lines.test.tsx")
    assert pages.returncode == 0, pages.stdout + pages.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("add", "step_update", "--rows", "--table", "steps", "--event", "S"), "ends in _rows: step_rows"),
        (("add", "runs.{run_id}", "--rows", "--table", "steps", "--event", "S"), "run_rows.{run_id}"),
        (("add", "step_rows", "--event", "S", "--service", "Steps"), "name it with --table TABLE"),
        ((*STEPS, "--key", "nr"), "--key nr: LineRow has no such field"),
    ],
)
def test_what_cannot_be_rows_is_refused(copy: Copy, run: Run, arguments: tuple[str, ...], says: str) -> None:
    before = copy.texts()
    result = run(*arguments)
    assert result.exit_code in (1, 2)
    assert says in result.stderr
    assert copy.changed_since(before) == set()
