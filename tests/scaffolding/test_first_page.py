"""The tutorial of the first page does what it says: a test runs its commands and writes its files, in order.

Two of them install nothing: `npm install`, for the new page gets the modules of this repository, and
`pip install`, which only looks whether there is something to install.
"""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.scaffolding.started import environment, run
from tests.scaffolding.test_pages import Block, blocks

REPOSITORY = Path(__file__).parents[2]
TUTORIAL = REPOSITORY / "docs/tutorials/first-page.md"
TSC = str(REPOSITORY / "node_modules/.bin/tsc")
_ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)")
_DSN = re.compile(r'psql "([^"]+)"')


class Reader:
    """Somebody who follows the page at a terminal."""

    def __init__(self, folder: Path, database: str, services: ExitStack) -> None:
        self.folder = folder
        self.said = ""
        self._database = database
        self._services = services
        self.where = {"PORT": "0"}

    def follow(self, block: Block) -> None:
        place = self.folder / block.title
        if block.language == "bash":
            for line in block.text.splitlines():
                self._type(line, place)
        elif block.language == "python" and place.exists():
            assert place.read_text("utf-8") == block.text, f"{block.title} is not what is written"
        elif block.language == "text":
            page = (self.folder / "hello/web/page.js").read_text("utf-8")
            assert {line.strip() for line in block.text.splitlines()} <= {
                line.strip() for line in page.splitlines()
            }
        else:
            place.parent.mkdir(exist_ok=True)
            before = place.read_text("utf-8") if place.exists() else ""
            place.write_text(before + block.text, "utf-8")

    def _type(self, line: str, folder: Path) -> None:
        if line.startswith("pip install"):
            assert "Would install" not in run(folder, "python", "-m", *shlex.split(line), "--dry-run")
        elif line == "npm install":
            (folder / "node_modules").symlink_to(REPOSITORY / "node_modules")
        elif line.startswith(("python -m app", "uvicorn ")):
            self._services.close()  # the terminal has one service at a time
            self._services.enter_context(self._serving(line, folder))
        else:
            line = line.replace("localhost:8000", f"127.0.0.1:{self.where['PORT']}")
            database = {} if "DSN" in line else {"DATABASE_URL": self._database}
            mine = folder.name == "mine"
            self.said += run(folder, "bash", "-euc", line, **self.where, **(database if mine else {}))

    @contextmanager
    def _serving(self, line: str, folder: Path) -> Iterator[None]:
        command = [*shlex.split(line), *(["--port", "0"] if line.startswith("uvicorn") else [])]
        where = environment(PORT="0", **({"DATABASE_URL": self._database} if folder.name == "mine" else {}))
        with subprocess.Popen(
            command, cwd=folder, env=where, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as service:
            try:
                assert service.stdout is not None
                for said in service.stdout:
                    if found := _ADDRESS.search(said):
                        self.where["PORT"] = found[1]
                    if found := _DSN.search(said):
                        self.where["DSN"] = found[1]
                    if "psql" in said or "Uvicorn running" in said:
                        break
                else:
                    pytest.fail(f"{line} ended without a word of where it is")
                yield
            finally:
                service.send_signal(signal.SIGTERM)


def rows(reader: Reader, query: str) -> str:
    return run(reader.folder, "psql", "-XqAt", reader.where["DSN"], "-c", query)


def test_the_first_page_comes_about_as_it_is_told(tmp_path: Path, database: str) -> None:
    pages = [blocks(section) for section in TUTORIAL.read_text("utf-8").split("\n## ")]
    start, change, declared, second, react, mine = pages
    with ExitStack() as services:
        reader = Reader(tmp_path, database, services)
        for block in (*start, *change, *declared):
            reader.follow(block)
        told = rows(reader, "select channel, payload::json->>'title' from flowcraft.event order by id")
        assert [line.partition("|")[2] for line in told.splitlines()] == [
            "Water the flowers",
            "Open this page in a second window",
            "Hello from psql",
        ]
        for block in second:
            reader.follow(block)
        assert "no problems found" in reader.said
        assert rows(reader, "select payload from flowcraft.event where channel = 'order_update'")
        run(tmp_path / "hello", TSC, "-p", "web/jsconfig.json")
        for block in (*react, *mine):
            reader.follow(block)
        assert 'system: {"type":"Notice","text":"hello"}\n' in reader.said


def test_every_line_that_is_added_to_an_application_is_in_the_table() -> None:
    text = TUTORIAL.read_text("utf-8")
    source = (REPOSITORY / "src/flowcraft/scaffolding/mounting.py").read_text("utf-8")
    for line in ('asgi("/realtime", is_mount=True, copy_scope=True)', ".add_middleware("):
        assert line in text
        assert line in source
