"""`flowcraft init` to the end, in a backend beside a React frontend: from the repository's root."""

from __future__ import annotations

import json
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.scaffolding.started import environment, run
from tests.support.full_stack import FILES
from tests.support.journeys import write

REPOSITORY = Path(__file__).parents[2]
MAIN = """\
import { RealtimeProvider } from "@flowcraft/realtime/react"
import { QueryClient, QueryClientProvider } from "@tanstack/react-query"
import { StrictMode } from "react"
import ReactDOM from "react-dom/client"
import { App } from "./App"
import { realtimeClient } from "./realtime-client"
"""


@pytest.mark.world
@pytest.mark.timeout(240)
def test_a_backend_and_a_frontend_are_ready_and_the_second_command_works(here: Path, database: str) -> None:
    write(here, FILES)
    where = {"SHOP_DATABASE": database}
    run(here / "backend", "python", "-m", "alembic", "upgrade", "head", **where)
    printed = run(here, "flowcraft", "init", **where)
    assert "export DATABASE_URL" not in printed, "the engine's address is used"

    realtime = (here / "backend/app/realtime.py").read_text("utf-8")
    assert "from app.core.config import settings\n" in realtime
    assert "realtime = Realtime(channels, dsn=str(settings.SQLALCHEMY_DATABASE_URI))\n" in realtime
    project = tomllib.loads((here / "backend/pyproject.toml").read_text("utf-8"))
    assert project["project"]["dependencies"][0].startswith("flowcraft-realtime>=")
    assert project["tool"]["flowcraft"] == {
        "realtime": "app.realtime:realtime", "app": "app.main:app", "web": "../frontend",
    }  # fmt: skip
    web = here / "frontend"
    assert "@flowcraft/realtime" in json.loads((web / "package.json").read_text("utf-8"))["dependencies"]
    main = (web / "src/main.tsx").read_text("utf-8")
    assert main.startswith(MAIN)
    provider = "<RealtimeProvider client={realtimeClient}>\n        <App />\n      </RealtimeProvider>\n"
    assert f"      {provider}    </QueryClientProvider>" in main
    proxy = '  server: { proxy: { "/realtime": { target: "http://localhost:8000", ws: true } } },\n'
    assert f"defineConfig({{\n{proxy}" in (web / "vite.config.ts").read_text("utf-8")

    (web / "node_modules").symlink_to(REPOSITORY / "node_modules")
    run(here, "flowcraft", "migrate", **where)
    for name, event in (("item_update", "ItemUpdate"), ("items.{owner_id}", "OwnerItem")):
        added = ("channel", "add", name, "--table", "items", "--event", event)
        printed = run(here, "flowcraft", *added, **where)
        migrate = "next        (cd backend && alembic upgrade head), then restart the service\n"
        assert printed.endswith(migrate)
        run(here / "backend", "python", "-m", "alembic", "upgrade", "head", **where)
    inside = ("channel", "add", "item_rows", "--rows", "--table", "items", "--event", "Item")
    assert "../frontend/src/features/items/hooks" in run(here / "backend", "flowcraft", *inside, **where)
    run(here / "backend", "flowcraft", "migrate", **where)
    assert "no problems found" in run(here, "flowcraft", "check", **where)
    assert "no problems found" in run(here / "backend", "flowcraft", "check", **where)
    run(web, "node_modules/.bin/tsc", "-p", ".")
    assert not list(web.rglob("src/**/*.test.tsx")), "the project has no vitest"
    run(here / "backend", "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", **where)
    assert run(here, "flowcraft", "init", **where).endswith("already; nothing to do\n")
    done = subprocess.run(
        ["flowcraft", "doctor", "--quick"],
        cwd=here, env=environment(**where), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "no server reads the log" in done.stdout


POETRY = '[tool.poetry.dependencies]\npython = "^3.11"\nfastapi = "^0.1"\n\n'


@pytest.mark.parametrize(
    ("name", "text", "added"),
    [
        ("pyproject.toml", '[project]\nname = "a"\ndependencies = []\n', 'dependencies = ["{}"]\n'),
        ("pyproject.toml", '[project]\ndependencies = ["x"]\n[x]\n', 'dependencies = ["{}", "x"]\n'),
        ("pyproject.toml", "[tool.x]\ndependencies = []\n", "[tool.x]\ndependencies = []\n"),
        ("pyproject.toml", f"[project]\n{POETRY}[tool.x]\n", 'fastapi = "^0.1"\n{entry}\n\n[tool.x]\n'),
        ("pyproject.toml", POETRY, 'fastapi = "^0.1"\n{entry}\n'),
        ("Pipfile", '[packages]\nfastapi = "*"\n[requires]\n', '"*"\n{entry}\n[requires]\n'),
        ("requirements.txt", "fastapi\n", "fastapi\n{}\n"),
    ],
)
def test_the_package_becomes_a_dependency_where_the_project_lists_them(
    here: Path, name: str, text: str, added: str
) -> None:
    from flowcraft.scaffolding.python_project import plan_project

    (here / name).write_text(text, "utf-8")
    (edit,) = plan_project(here, here, {"realtime": "a:b", "path": here})
    requirement = f"flowcraft-realtime>={__import__('flowcraft').__version__}"
    entry = '{} = "{}"'.format(*requirement.partition(">=")[::2]).replace('"', '">=', 1)
    assert added.format(requirement, entry=entry) in edit.after
    assert ('[tool.flowcraft]\nrealtime = "a:b"\n' in edit.after) is (name == "pyproject.toml")
    (here / name).write_text(edit.after, "utf-8")
    assert not any(edit.changes for edit in plan_project(here, here, {"realtime": "a:b"}))


@pytest.mark.parametrize("lock", ["uv", "poetry", "pipenv", None])
def test_a_project_that_locks_its_dependencies_locks_this_one(here: Path, lock: str | None) -> None:
    project = '[project]\nname = "a"\ndependencies = []\n'
    write(here, {"main.py": "from fastapi import FastAPI\n\napp = FastAPI()\n", "pyproject.toml": project})
    if lock is not None:
        write(here, {"Pipfile.lock" if lock == "pipenv" else f"{lock}.lock": ""})
    printed = run(here, "flowcraft", "init", "--no-page").partition("Next:\n")[2]
    assert (" lock   (flowcraft-realtime is a new dependency)" in printed) is (lock is not None)
    assert lock is None or f"  {lock} lock " in printed


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("export default {\n  base: '/'\n}\n", "export default {\n  server: { proxy: { '/realtime'"),
        ("export default defineConfig(({ mode }) => ({\n", '({\n  server: { proxy: { "/realtime"'),
        ("defineConfig({ server: { port: 1 } })\n", None),
        ("  server: {\n    proxy: {\n      '/api': x,\n    },\n", "    proxy: {\n      '/realtime': {"),
        ("  server: {\n    port: 1,\n  },\n", '  server: {\n    proxy: { "/realtime": { target'),
        ("module.exports = 1\n", None),
        ("proxy('/realtime')\n", "proxy('/realtime')"),
    ],
)  # fmt: skip
def test_the_development_server_passes_realtime_on(here: Path, before: str, after: str | None) -> None:
    from flowcraft.scaffolding.page_client import PageClient
    from flowcraft.scaffolding.web_wiring import plan_wiring

    (here / "vite.config.ts").write_text(before, "utf-8")
    edits, by_hand = plan_wiring(here, here, PageClient())
    found = [edit.after for edit in edits if edit.path.name == "vite.config.ts"]
    if after is None:
        assert (found, "pass /realtime" in " ".join(by_hand)) == ([], True)
    else:
        assert after in (found or [before])[0]


def test_a_root_that_is_not_found_is_left_to_the_user(here: Path) -> None:
    from flowcraft.scaffolding.page_client import PageClient
    from flowcraft.scaffolding.web_wiring import plan_wiring

    (here / "index.jsx").write_text("createRoot(root).render(routes)\n", "utf-8")
    edits, by_hand = plan_wiring(here, here, PageClient())
    assert [edit.path.name for edit in edits] == ["realtime-client.ts"]
    assert by_hand[0] == (
        "wrap the application in <RealtimeProvider client={realtimeClient}>, the client of realtime-client"
    )


def test_the_address_of_another_database_is_not_taken(here: Path) -> None:
    from flowcraft.scaffolding.python_project import address_expression

    write(here, FILES)
    application = here / "backend/app/main.py"
    found = address_expression(here, here / "backend", application)
    assert found is not None
    assert found.imports == (("app.core.config", "settings"),)
    (here / "backend/app/core/db.py").write_text('engine = create_engine("sqlite:///x")\n', "utf-8")
    assert address_expression(here, here / "backend", application) is None
    (here / "backend/app/core/db.py").write_text("URL = read()\nengine = create_async_engine(URL)\n", "utf-8")
    found = address_expression(here, here / "backend", application)
    assert found is not None
    assert (found.text, found.imports) == ("str(URL)", (("app.core.db", "URL"),))
    assert FILES["backend/app/core/db.py"].startswith("from sqlalchemy")
