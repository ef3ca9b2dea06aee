"""`flowcraft init` in a project: the application is found in its code, and an event arrives beside it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from flowcraft.entrypoints.cli import app
from tests.scaffolding.started import run, running, texts, told

REPOSITORY = Path(__file__).parents[2]
FASTAPI = """\
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def index() -> str:
    return "here"
"""
STARLETTE = """\
import starlette.applications as starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route


def create_app() -> starlette.Starlette:
    service = starlette.Starlette(
        routes=[Route("/", lambda _: PlainTextResponse("here"))],
    )
    return service


app = create_app()
"""
LITESTAR = """\
from litestar import Litestar, get


@get("/")
async def index() -> str:
    return "here"


app: Litestar = Litestar([index])
"""
DJANGO = """\
import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_.settings")

application = get_asgi_application()
"""
SETTINGS = 'SECRET_KEY = "-"\nALLOWED_HOSTS = ["*"]\nROOT_URLCONF = "site_.urls"\n'
URLS = """\
from django.http import HttpResponse
from django.urls import path

urlpatterns = [path("", lambda _: HttpResponse("here"))]
"""
PROJECTS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "FastAPI": ("main:app", {"main.py": FASTAPI}),
    "Starlette": ("service.web:app", {"service/__init__.py": "", "service/web.py": STARLETTE}),
    "Litestar": ("main:app", {"main.py": LITESTAR}),
    "Django": (
        "site_.asgi:application",
        {
            "site_/__init__.py": "",
            "site_/asgi.py": DJANGO,
            "site_/settings.py": SETTINGS,
            "site_/urls.py": URLS,
        },
    ),
}


def write(here: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(text, "utf-8")


def init(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["init", *arguments], prog_name="flowcraft")


@pytest.mark.parametrize("framework", PROJECTS)
async def test_an_event_arrives_and_a_page_is_there_beside_what_the_application_does(
    framework: str, here: Path, database: str
) -> None:
    served, files = PROJECTS[framework]
    write(here, files)
    result = init()
    assert result.exit_code == 0, result.output
    found = re.search(rf"the {framework} application serves (\S+) at /realtime", result.stdout)
    assert found is not None
    before = texts(here)
    assert init().stdout == f"the application serves {found[1]} already; nothing to do\n"
    assert texts(here) == before

    where = {"DATABASE_URL": database}
    run(here, "flowcraft", "migrate", found[1], **where)
    serve = ("uvicorn", served, "--port", "0")
    async with (
        asyncio.timeout(60),
        running(here, *serve, sign="Uvicorn running on", **where) as (_, line),
    ):
        address = re.findall(r"http://[^ ]+", line)[0]
        async with httpx.AsyncClient(base_url=address) as http:
            assert "here" in (await http.get("/")).text
            assert "<script" in (await http.get("/live/index.html")).text
            script = await http.get("/live/vendor/flowcraft-realtime/dist/index.js")
            assert "javascript" in script.headers["content-type"]
        events = told(f"{address.replace('http', 'ws')}/realtime?channel=system")
        await anext(events)
        say = ("flowcraft", "broadcast", found[1], "system", '{"text": "hello"}')
        await asyncio.to_thread(run, here, *say, **where)
        assert await anext(events) == {"type": "Notice", "text": "hello"}
        await events.aclose()


def test_a_dry_run_shows_the_lines_and_changes_nothing(here: Path) -> None:
    write(here, {"main.py": FASTAPI})
    result = init("--dry-run")
    assert "+app.add_middleware(realtime.asgi)\n" in result.stdout
    assert "2 application       change main.py\n" in result.stdout
    assert result.stdout.endswith("dry run: nothing was changed\n")
    assert texts(here) == {"main.py": FASTAPI.encode()}


def test_a_factory_gets_the_line_too_and_the_name_that_it_uses(here: Path) -> None:
    write(here, PROJECTS["Starlette"][1])
    init()
    text = (here / "service/web.py").read_text("utf-8")
    assert "    )\n    service.add_middleware(realtime.asgi)\n    service.mount(" in text
    assert "from service.realtime import PAGE, realtime\n" in text


@pytest.mark.parametrize(
    "other",
    [
        {"Dockerfile": 'CMD ["uvicorn", "app.main:app"]\n'},
        {"tests/test_main.py": "from app.main import app\n"},
        {"app/__init__.py": ""},
        {"app/main.py": f"from . import rows\n{FASTAPI}", "app/rows.py": ""},
    ],
)
def test_the_module_is_imported_as_the_application_is(other: Mapping[str, str], here: Path) -> None:
    write(here, {"app/main.py": FASTAPI, **other})
    assert init("--no-page").exit_code == 0
    assert "from app.realtime import realtime\n" in (here / "app/main.py").read_text("utf-8")
    assert init().stdout.startswith("the application serves app.realtime:realtime already")


def test_of_several_applications_one_is_to_be_named(here: Path) -> None:
    write(here, {"main.py": FASTAPI, "admin.py": FASTAPI})
    result = init()
    assert result.exit_code == 1
    assert result.stderr.endswith("found 2: admin.py:app, main.py:app; name it with --app\n")
    assert init("--app", "main.py").exit_code == 0
    assert (here / "admin.py").read_text("utf-8") == FASTAPI


def test_what_ruff_has_sorted_stays_sorted_and_the_first_page_is_typed(here: Path) -> None:
    write(here, {"main.py": FASTAPI})
    run(here, "ruff", "check", "--select", "I", ".")
    init()
    run(here, "ruff", "check", "--select", "I", ".")
    run(here, str(REPOSITORY / "node_modules/.bin/tsc"), "-p", "live/jsconfig.json")


def test_without_a_page_only_the_channels_and_one_line_are_added(here: Path) -> None:
    write(here, {"main.py": FASTAPI})
    init("--no-page")
    assert set(texts(here)) == {"main.py", "realtime.py"}
    added = "from realtime import realtime\n\napp = FastAPI()\napp.add_middleware(realtime.asgi)\n"
    assert added in (here / "main.py").read_text("utf-8")


def test_without_an_application_it_says_what_to_write(here: Path) -> None:
    write(here, {"main.py": "print('hello')\n", "tests/main.py": FASTAPI})
    result = init()
    assert result.exit_code == 1
    assert "wrap your ASGI application by hand with app = realtime.asgi(app)" in result.stderr
    assert set(texts(here)) == {"main.py", "tests/main.py"}


def test_a_name_that_is_taken_is_left_alone_and_the_line_is_told(here: Path) -> None:
    taken = FASTAPI.replace("app = ", "realtime = 7\napp = ")
    write(here, {"main.py": taken})
    result = init()
    assert result.exit_code == 1
    assert result.stderr.endswith("or add by hand:\napp.add_middleware(realtime.asgi)\n")
    assert texts(here) == {"main.py": taken.encode()}


def test_the_channels_that_a_project_has_are_the_ones_that_are_served(here: Path) -> None:
    channels = "from flowcraft import Channels\n\nchannels = Channels()\n"
    write(here, {"main.py": FASTAPI, "events.py": channels})
    assert init().exit_code == 0
    assert (here / "events.py").read_text("utf-8") == (
        "from flowcraft import Channels, Realtime\n\nchannels = Channels()\n\nrealtime = Realtime(channels)\n"
    )
    assert "from events import realtime\n" in (here / "main.py").read_text("utf-8")
    assert not (here / "realtime.py").exists()


def test_react_is_for_new_projects(here: Path) -> None:
    write(here, {"main.py": FASTAPI})
    result = init("--react")
    assert (result.exit_code, result.stderr) == (
        2,
        "error: --react is for new projects, and . has Python code; leave out --react\n",
    )


def test_a_react_application_gets_the_client_the_types_and_a_hook(here: Path) -> None:
    package = '{\n  "name": "web",\n  "dependencies": {\n    "react": "19.3.1"\n  }\n}\n'
    write(here, {"main.py": FASTAPI, "web/package.json": package, "web/src/app.tsx": "export {};\n"})
    assert init().exit_code == 0
    text = (here / "web/package.json").read_text("utf-8")
    vendored = next((here / "web/vendor").iterdir())
    dependencies = {"@flowcraft/realtime": f"file:vendor/{vendored.name}", "react": "19.3.1"}
    assert json.loads(text)["dependencies"] == dependencies
    assert text.startswith('{\n  "name": "web",\n  "dependencies": {\n    "@flowcraft/realtime": ')
    (here / "web/node_modules").symlink_to(REPOSITORY / "node_modules")
    assert "no problems found" in run(here, "flowcraft", "check")
    assert init().stdout.endswith("; nothing to do\n")


def test_the_next_channel_is_added_to_it(here: Path) -> None:
    write(here, {"main.py": FASTAPI, "migrations/0001.sql": "create table runs (id int primary key);\n"})
    init()
    run(here, "flowcraft", "channel", "add", "run_update", "--table", "runs", "--event", "RunUpdate")
    assert "run_update: RunUpdate;" in (here / "live/realtime.gen.ts").read_text("utf-8")
    assert "no problems found" in run(here, "flowcraft", "check")
