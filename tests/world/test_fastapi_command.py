"""`fastapi dev` and `fastapi run` serve the realtime routes of every FastAPI application of the guides."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from flowcraft import Channels, migrate
from tests.docs.blocks import blocks
from tests.support.hosts import ROOT, hosted, hosts_environment

pytestmark = [pytest.mark.world, pytest.mark.timeout(300)]
FLOWCRAFT = str(Path(sys.executable).parent / "flowcraft")


@pytest.fixture(scope="module", autouse=True)
def _environment() -> None:
    hosts_environment()


@dataclass(frozen=True)
class Project:
    """How a project is made in an empty folder, the file that the command serves, and its WebSocket."""

    make: Callable[[Path], None]
    file: str
    path: str = "/realtime"


def example(*names: str) -> Callable[[Path], None]:
    """Copy files into a folder of their own: the command can import what is beside a file."""

    def make(folder: Path) -> None:
        for name in names:
            shutil.copy(ROOT / name, folder / Path(name).name)

    return make


def page(name: str) -> Callable[[Path], None]:
    """Write the files of a page of the documentation."""

    def make(folder: Path) -> None:
        for block in blocks((ROOT / "docs" / name).read_text("utf-8")):
            if block.title.endswith(".py") and "/" not in block.title:
                (folder / block.title).write_text(block.text)

    return make


def existing(folder: Path) -> None:
    (folder / "main.py").write_text("from fastapi import FastAPI\n\napp = FastAPI()\n")


PROJECTS = {
    "the example of the guide": Project(example("examples/frameworks/fastapi_app.py"), "fastapi_app.py"),
    "the example that mounts": Project(
        example("examples/orders/app.py", "examples/orders/schema.sql"),
        "app.py",
        "/realtime/",
    ),
    "the run page": Project(page("tutorials/run-page.md"), "api.py"),
    "the guide to workers": Project(page("guides/workers.md"), "main.py"),
    "an existing project after init": Project(existing, "main.py"),
    "a project that init made": Project(lambda _: None, "hello/app/main.py"),
}


@pytest.mark.parametrize("command", ["dev", "run"])
@pytest.mark.parametrize("name", PROJECTS)
async def test_the_realtime_routes_are_served(command: str, name: str, database: str, tmp_path: Path) -> None:
    project, folder = PROJECTS[name], tmp_path / "project"
    folder.mkdir()
    project.make(folder)
    if "init" in name:
        await initialized(folder, "hello" if "made" in name else ".")
    await migrate(database, Channels())
    started = hosted(
        f"fastapi {command} --host 127.0.0.1 --port {{port}}",
        str(folder / project.file),
        tmp_path,
        DATABASE_URL=database,
    )
    async with started as served, httpx.AsyncClient(base_url=f"http://{served.address}") as http:
        async with connect(f"ws://{served.address}{project.path}") as client:
            assert "hello" in json.loads(await client.recv()), served.log
        assert (await http.get(f"{project.path.rstrip('/')}/readyz")).status_code == 200, served.log


async def initialized(folder: Path, name: str) -> None:
    process = await asyncio.create_subprocess_exec(FLOWCRAFT, "init", *[name] * (name != "."), cwd=folder)
    assert await process.wait() == 0


def test_every_page_with_an_application_of_fastapi_is_in_the_table() -> None:
    """What a page shows as `= FastAPI(` in a file is run above; other snippets are of the examples."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    found = {
        path.name
        for path in pages
        for block in blocks(path.read_text("utf-8"))
        if block.title and "= FastAPI(" in block.text
    }
    assert found == {"run-page.md", "workers.md", "first-page.md"}
