"""`flowcraft init` in an empty folder: a project that is right, and a page that is live."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from flowcraft.entrypoints.cli import app
from flowcraft.scaffolding.npm_package import npm_package
from flowcraft.scaffolding.starting import NPM_VERSIONS
from tests.scaffolding.started import BIN, run, running, texts, told

REPOSITORY = Path(__file__).parents[2]
NODE_MODULES = REPOSITORY / "node_modules"
ORDERS = "create table orders (id int generated always as identity primary key, total int not null);\n"
URL = re.compile(r"http://127\.0\.0\.1:\d+/")


def init(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["init", *arguments], prog_name="flowcraft")


def check_style(project: Path) -> None:
    run(project, "ruff", "check", ".")
    run(project, "ruff", "format", "--check", ".")


def check_channels(project: Path, **more: str) -> None:
    assert "no problems found" in run(project, "flowcraft", "check", **more)


def test_a_project_is_whole_and_a_second_run_has_nothing_to_do(here: Path) -> None:
    result = init("hello")
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("created hello. Next:\n  cd hello\n  python -m app\n")
    project = here / "hello"
    check_style(project)
    check_channels(project)
    gate = ("flowcraft", "codegen", "typescript", "app.realtime:channels", "--check", "--out")
    run(project, *gate, "web/realtime.gen.ts")
    run(project, str(NODE_MODULES / ".bin/tsc"), "-p", "web/jsconfig.json")

    before = texts(here)
    again = init("hello")
    nothing = "the application serves app.realtime:realtime already; nothing to do\n"
    assert (again.exit_code, again.stdout) == (0, nothing)
    assert texts(here) == before


def test_every_module_that_the_client_may_load_came_with_the_page(here: Path) -> None:
    init("hello")
    modules = list((here / "hello/web/vendor").rglob("*.js"))
    named = [
        module.parent / path
        for module in modules
        for path in re.findall(r'"(\.\.?/[^"]+\.js)"', module.read_text("utf-8"))
    ]
    assert len(named) >= len(modules) - 1
    assert [path for path in named if not path.is_file()] == []


def test_the_page_of_a_misspelt_channel_does_not_pass_the_type_checker(here: Path) -> None:
    init("hello")
    page = here / "hello/web/page.js"
    page.write_text(page.read_text("utf-8").replace('"task_update"', '"task_updated"'), "utf-8")
    with pytest.raises(AssertionError, match="task_updated"):
        run(here, str(NODE_MODULES / ".bin/tsc"), "-p", "hello/web/jsconfig.json")


async def test_a_change_arrives_and_rows_outlive_the_service(here: Path) -> None:
    init("hello")
    service = ("python", "-m", "app")
    async with asyncio.timeout(60):
        async with running(here / "hello", *service, sign="the page:", PORT="0") as (_, line):
            page = URL.findall(line)[0]
            events = told(f"{page.replace('http', 'ws')}realtime?channel=task_update", 2)
            await anext(events)
            async with httpx.AsyncClient(base_url=page) as http:
                assert "<script" in (await http.get("/")).text
                assert (await http.post("/api/tasks", json={"title": "Write a test"})).status_code == 204
                event = {"type": "TaskUpdate", "task_id": 4, "title": "Write a test", "done": False}
                assert await anext(events) == event
                assert (await http.post("/api/tasks/4/toggle")).status_code == 204
                assert await anext(events) == (event := {**event, "done": True})
                assert (await http.post("/api/tasks/9/toggle")).status_code == 404
            await events.aclose()
        async with running(here / "hello", *service, sign="the page:", PORT="0") as (_, line):
            page = URL.findall(line)[0]
            kept = await asyncio.to_thread(httpx.get, f"{page}api/tasks")
            assert kept.json()["data"][3] == event


def test_a_port_in_use_is_named_with_the_way_out(here: Path) -> None:
    init("hello")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AssertionError, match=f"choose another: PORT={port + 1} python -m app"):
            run(here / "hello", "python", "-m", "app", PORT=str(port))


def test_channels_of_both_patterns_are_added_to_it_and_all_of_it_is_strictly_typed(here: Path) -> None:
    init("hello")
    project = here / "hello"
    (project / "migrations/0002_orders.sql").write_text(ORDERS, "utf-8")
    add = ("flowcraft", "channel", "add")
    said = run(project, *add, "order_update", "--table", "orders", "--event", "OrderUpdate")
    assert "subscribers open to everybody; restrict it with @order_update.guard\n" in said
    alert = ("--event", "AlertRaised", "--field", "text:str", "--service", "AlertService")
    run(project, *add, "alerts.{alert_id}", *alert)
    check_style(project)
    # What mypy knows of FastAPI is kept from run to run; it takes ten seconds to learn.
    run(project, "mypy", MYPY_CACHE_DIR=str(REPOSITORY / "build/mypy-init"))
    check_channels(project)
    assert "order_update: OrderUpdate;" in (project / "web/realtime.gen.ts").read_text("utf-8")
    assert not list(project.rglob("use-*.ts")), "a page without React has no hooks"
    assert "3 passed" in run(project, "python", "-m", "pytest", "-q", "-p", "no:cacheprovider")


def test_the_react_page_compiles_and_a_channel_is_added_with_its_hook(here: Path) -> None:
    result = init("live", "--react")
    assert "(cd web && npm install && npm run build)" in result.stdout
    project = here / "live"
    (project / "web/node_modules").symlink_to(NODE_MODULES)
    (project / "migrations/0002_orders.sql").write_text(ORDERS, "utf-8")
    run(project, "flowcraft", "channel", "add", "order_update", "--table", "orders", "--event", "OrderUpdate")
    run(project / "web", "npm", "run", "build")
    check_style(project)
    check_channels(project)
    vendored = project / "web/vendor" / npm_package().name
    assert vendored.read_bytes() == npm_package().content
    dependencies = json.loads((project / "web/package.json").read_text("utf-8"))["dependencies"]
    assert dependencies["@flowcraft/realtime"] == f"file:vendor/{npm_package().name}"


def test_the_versions_of_the_react_page_are_those_that_this_repository_is_tested_with() -> None:
    ours = json.loads((REPOSITORY / "package.json").read_text("utf-8"))["devDependencies"]
    assert {name: ours[name] for name in NPM_VERSIONS} == dict(NPM_VERSIONS)


def test_a_dry_run_changes_nothing(here: Path) -> None:
    result = init("hello", "--dry-run")
    assert (result.exit_code, list(here.iterdir())) == (0, [])
    assert result.stdout.endswith("dry run: nothing was changed\n")


def test_nothing_of_somebody_else_is_overwritten(here: Path) -> None:
    (here / "README.md").write_text("mine\n", "utf-8")
    assert init().exit_code == 0
    assert (here / "README.md").read_text("utf-8") == "mine\n"

    other = here / "other"
    other.mkdir()
    (other / "pyproject.toml").write_text("[project]\n", "utf-8")
    before = texts(other)
    result = init("other")
    assert result.exit_code == 1
    assert result.stderr == (
        f"error: {other}/pyproject.toml exists already and is not overwritten; "
        "start in an empty folder with `flowcraft init NAME`\n"
    )
    assert texts(other) == before


def test_options_of_projects_are_refused_for_a_new_one(here: Path) -> None:
    result = init("hello", "--app", "main.py")
    assert result.exit_code == 2
    assert result.stderr.endswith("so a new project is created; leave out --app and --web\n")


def test_the_command_line_is_the_one_that_is_installed() -> None:
    assert (BIN / "flowcraft").exists()
    assert "flowcraft init hello" in run(REPOSITORY, "flowcraft", "init", "--help")
