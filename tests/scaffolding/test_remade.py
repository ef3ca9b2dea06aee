"""The example's own channel, removed and added by the command: the application works, and its tests bite."""

from __future__ import annotations

import ast
import asyncio
import re
from pathlib import Path

from examples.flowcraft.api.core.domain.channels import channels
from flowcraft import Channels
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.scaffolding.python_text import declaration_of, fields_of
from tests.scaffolding.conftest import TARGET, Copy, Run, execute

FLOW_ROWS = (
    *("add", "flow_rows", "--rows", "--table", "flows", "--event", "FlowUpdate", "--key", "flow_id"),
    *("--column", "flow_id=id", "--column", "name", "--column", "description", "--column", "steps"),
    *("--column", "paused"),
)
RUN_UPDATE = ("add", "run_update", "--table", "runs", "--event", "RunUpdate")
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider")


def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"))


def schema_hash(copy: Copy) -> str:
    found = re.search(r'schemaHash = "(\w+)"', (copy.web / "src/realtime.gen.ts").read_text("utf-8"))
    assert found is not None
    return found[1]


def test_a_channel_that_was_removed_is_made_again_and_the_application_works(copy: Copy, run: Run) -> None:
    events, declared = copy.domain / "events.py", copy.domain / "channels.py"
    was = fields_of(tree(events), "FlowUpdate"), schema_hash(copy)
    statement = declaration_of(tree(declared), "channels", "flow_rows")
    assert statement is not None
    copy.remove("flow_rows", "FlowUpdate")
    assert declaration_of(tree(declared), "channels", "flow_rows") is None

    result = run(*FLOW_ROWS)
    assert result.exit_code == 0, result.output
    assert (fields_of(tree(events), "FlowUpdate"), schema_hash(copy)) == was
    again = declaration_of(tree(declared), "channels", "flow_rows")
    assert again is not None
    assert ast.dump(again) == ast.dump(statement)
    assert (copy.hooks / "flows/hooks/use-flow-rows.ts").exists(), "beside use-flows.ts, which stays"

    own = "examples/flowcraft/tests/test_flow_rows_channel.py"
    tested = copy.python(
        *PYTEST,
        own,
        "examples/flowcraft/tests/test_run_service.py",
        "examples/flowcraft/tests/test_hydration.py",
    )
    assert tested.returncode == 0, tested.stdout
    drift = (
        "codegen",
        "typescript",
        TARGET,
        "--out",
        "examples/flowcraft/web/src/realtime.gen.ts",
        "--check",
    )
    checked = copy.process("flowcraft", *drift)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    listed = copy.process("flowcraft", "check", TARGET, "--web", "examples/flowcraft/web")
    assert (listed.returncode, "no problems found" in listed.stdout) == (0, True), (
        listed.stdout + listed.stderr
    )
    for command in (
        ("ruff", "check", "--no-cache", "examples", "tests"),
        ("ruff", "format", "--check", "examples", "tests"),
    ):
        linted = copy.process(*command)
        assert linted.returncode == 0, linted.stdout
    typed = copy.tool("tsc", "-p", "tsconfig.json")
    assert typed.returncode == 0, typed.stdout
    pages = copy.tool("vitest", "run", "--root", ".", "src/features/flows")
    assert pages.returncode == 0, pages.stdout + pages.stderr

    hook = copy.hooks / "flows/hooks/use-flow-rows.ts"
    hook.write_text(hook.read_text("utf-8").replace("useRows(channel.flowRows", "useRows(null"))
    other = copy.tool("vitest", "run", "--root", ".", "src/features/flows/hooks/use-flow-rows")
    assert other.returncode != 0, "a hook that does not subscribe is found"

    declared.write_text(declared.read_text("utf-8").replace('table="flows"', 'table="flows", where="false"'))
    silent = copy.python(*PYTEST, own)
    assert silent.returncode != 0, "a channel without its rows is found"


def test_the_migration_makes_the_very_triggers_that_migrate_makes(copy: Copy, run: Run, tables: str) -> None:
    result = run(*RUN_UPDATE, "--dsn", tables)
    assert result.exit_code == 0, result.output
    (script,) = [file.read_text("utf-8") for file in copy.migrations.glob("*_run_update.sql")]
    execute(tables, script)
    asyncio.run(migrate(tables, Channels()))
    execute(tables, script, script)
    done = asyncio.run(migrate(tables, channels))
    assert [line for line in done if line.startswith("flow_rows")] != []
    assert [line for line in done if "run_update" in line] == [], "nothing was left to do for it"
