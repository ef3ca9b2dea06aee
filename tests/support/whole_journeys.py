"""The journey of a project from `init` to a changed row in the browser, along what our commands print."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.scaffolding.started import environment, run, running
from tests.support.artefacts import ROOT, UV
from tests.support.hosts import free_port
from tests.support.postgres import connected
from tests.support.projects import Project, filled

PACKAGES = (
    "djangorestframework==3.16.1", "pydantic-settings", "python-dotenv", "python-multipart", "sqlmodel",
)  # fmt: skip
CHANNELS = (
    ("item_update", "--event", "ItemUpdate"),
    ("item_rows", "--rows", "--event", "ItemRow"),
    ("items.{owner_id}", "--event", "OwnerItem"),
)
SECOND = ("title_update", "--event", "TitleUpdate", "--column", "title")
_COMMANDS = ("flowcraft migrate", "alembic ", "python manage.py", "npm install")
SECONDS = 60


def packages() -> Path:
    """A folder with what the projects import and this repository does not."""
    name = sha256(repr(PACKAGES).encode()).hexdigest()[:12]
    folder = ROOT / "build" / f"journeys-{name}"
    if not folder.exists():
        made = folder.with_name(f"{folder.name}.{free_port()}")
        install = ("pip", "install", "--quiet", "--no-deps", "--python", sys.executable)
        subprocess.run([UV, *install, "--target", made, *PACKAGES], check=True)
        made.replace(folder)
    return folder


@dataclass
class Journey:
    """One project on its way; `seconds` has how long each part took."""

    here: Path
    project: Project
    dsn: str
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    port: int = field(default_factory=free_port)
    page_port: int = field(default_factory=free_port)

    @property
    def root(self) -> Path:
        return self.here / self.project.root

    @property
    def web(self) -> Path | None:
        return None if self.project.web is None else self.here / self.project.web

    @property
    def page_address(self) -> str:
        """Where the page is: that of Vite's preview, or the first page of the service."""
        if self.web is not None:
            return f"http://localhost:{self.page_port}/"
        return f"http://127.0.0.1:{self.port}/live/index.html"

    @property
    def words(self) -> dict[str, str]:
        parts = conninfo_to_dict(self.dsn)
        sqlalchemy = self.dsn.replace("postgresql://", "postgresql+asyncpg://", 1)
        names = {"name": parts["dbname"], "user": parts["user"], "host": parts["host"]}
        return {"dsn": self.dsn, "sqlalchemy": sqlalchemy, **{k: str(v) for k, v in names.items()}}

    @property
    def variables(self) -> dict[str, str]:
        """The environment of the project's people."""
        own = {name: filled(value, self.words) for name, value in self.project.environment.items()}
        if self.project.own_origin:
            own["VITE_API_URL"] = f"http://localhost:{self.port}"
            own["CORS_ORIGINS"] = f'["http://localhost:{self.page_port}"]'
        return {"PYTHONPATH": str(packages()), **own}

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.seconds[part] = self.seconds.get(part, 0) + time.monotonic() - began
        print(f"{part}: {self.seconds[part]:.1f} s")

    async def run(self, folder: Path, command: str | tuple[str, ...]) -> str:
        words = shlex.split(command) if isinstance(command, str) else command
        return await asyncio.to_thread(run, folder, *words, **self.variables)

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            (self.here / name).parent.mkdir(parents=True, exist_ok=True)
            (self.here / name).write_text(filled(text, self.words), "utf-8")


async def whole_journey(here: Path, project: Project, dsn: str, screenshot: Path | None = None) -> Journey:
    """Go the whole way, and return the journey."""
    journey = Journey(here, project, dsn)
    with journey.timed("project"):
        await made(journey)
    with journey.timed("init"):
        await followed(journey, await journey.run(here, "flowcraft init"))
    with journey.timed("channels"):
        for channel in CHANNELS:
            await added(journey, channel)
    await finished(journey)
    async with served(journey):
        with journey.timed("browser"):
            await watched(journey, screenshot)
    with journey.timed("second channel"):
        await added(journey, SECOND)
        await checked(journey)
    again = await journey.run(here, "flowcraft init")
    assert again.endswith("already; nothing to do\n"), again
    repeated = ("flowcraft", "channel", "add", *SECOND, "--table", "items")
    assert (await journey.run(here, repeated)).endswith("is complete already; nothing to do\n")
    return journey


async def made(journey: Journey) -> None:
    """Make the project as it was before, with its tables and its packages; its own checks pass."""
    for command in journey.project.made_by:
        await (fetched if command.startswith("npm ") else Journey.run)(journey, journey.here, command)
    journey.write(dict(journey.project.files))
    for command in journey.project.tables:
        await journey.run(journey.root, command)
    if journey.web is not None:
        await fetched(journey, journey.web, "npm install --silent --no-audit --no-fund --prefer-offline")
        if (journey.web / ".prettierrc").exists():
            await fetched(journey, journey.web, "npm install --silent --no-audit --no-fund -D prettier@3")
            await journey.run(journey.web, "npx prettier --write src vite.config.ts")
    await tidied(journey)


async def fetched(journey: Journey, folder: Path, command: str) -> None:
    """Run a command that needs a registry of npm; without one, there is nothing to test."""
    try:
        await journey.run(folder, command)
    except AssertionError as error:
        pytest.skip(f"not run: {command} failed: {str(error)[-300:]}")


async def added(journey: Journey, channel: tuple[str, ...]) -> None:
    """Add a channel, and do what comes next."""
    printed = await journey.run(journey.here, ("flowcraft", "channel", "add", *channel, "--table", "items"))
    await followed(journey, printed)


async def followed(journey: Journey, printed: str) -> None:
    """Run the commands that were printed as the next steps, where they are to be run."""
    steps = [line.strip() for line in printed.partition("Next:\n")[2].splitlines()]
    steps += re.findall(r"^next +(.*)$", printed, re.MULTILINE)
    folder = journey.here
    for step in steps:
        for command in re.split(r" && |, (?:then|or) ", step.partition("   (")[0]):
            bare = command.strip("()")
            if bare.startswith("cd "):
                folder = journey.here / bare.removeprefix("cd ")
            elif bare.startswith(_COMMANDS):
                await journey.run((journey.web or folder) if bare == "npm install" else folder, bare)


async def finished(journey: Journey) -> None:
    """Write the page, and run what the project's people run before they commit."""
    journey.write(dict(journey.project.page))
    if journey.web is not None and (journey.web / ".prettierrc").exists():
        written = [str((journey.here / name).relative_to(journey.web)) for name in journey.project.page]
        await journey.run(journey.web, ("npx", "prettier", "--write", *written))
    for name, old, new in journey.project.edits:
        text = (journey.here / name).read_text("utf-8")
        assert old in text, (name, old, text)
        (journey.here / name).write_text(text.replace(old, new, 1), "utf-8")
    for config in journey.web.glob("vite.config.*") if journey.web else ():
        text = config.read_text("utf-8")
        config.write_text(text.replace("localhost:8000", f"localhost:{journey.port}"), "utf-8")
    with journey.timed("tests"):
        await journey.run(journey.root, journey.project.tests)
    with journey.timed("build"):
        if journey.web is not None:
            await journey.run(journey.web, "npm run build")
    await tidied(journey)
    await checked(journey)


async def tidied(journey: Journey) -> None:
    """The formatter and the linter of the pages have nothing to say."""
    for command in journey.project.tidy:
        assert journey.web is not None
        await journey.run(journey.web, command)


async def checked(journey: Journey) -> None:
    """The channels are whole, seen from the repository and from the service's folder."""
    for folder in {journey.here, journey.root}:
        assert "no problems found" in await journey.run(folder, "flowcraft check")


@asynccontextmanager
async def served(journey: Journey) -> AsyncIterator[None]:
    """Serve the application, and its pages if they have a server of their own."""
    serve = ("uvicorn", journey.project.app, "--port", str(journey.port))
    async with asyncio.timeout(SECONDS):
        context = running(journey.root, *serve, sign="Uvicorn running on", **journey.variables)
        await context.__aenter__()
    try:
        if journey.web is None:
            yield
            return
        vite = str(journey.web / "node_modules/.bin/vite")  # not npx, which does not pass a signal on
        preview = (vite, "preview", "--port", str(journey.page_port), "--strictPort")
        async with running(journey.web, *preview, sign="Local:", **journey.variables):
            yield
    finally:
        await context.__aexit__(None, None, None)


async def watched(journey: Journey, screenshot: Path | None) -> None:
    """A row that is inserted, and then changed, is on the page; `doctor` finds the server."""
    pipe = asyncio.subprocess.PIPE
    look = ("node", str(ROOT / "tests/support/look.mjs"), journey.page_address)
    page = await asyncio.create_subprocess_exec(
        *look, *([str(screenshot)] if screenshot else []),
        stdin=pipe, stdout=pipe, stderr=pipe, env=environment(),
    )  # fmt: skip

    async def until(text: str) -> None:
        assert page.stdin is not None
        assert page.stdout is not None
        page.stdin.write(f"{text}\n".encode())
        line = await page.stdout.readline()
        if line != b"shown\n":
            assert page.stderr is not None
            raise AssertionError(f"{text!r} is not shown: {(await page.stderr.read()).decode()}")

    try:
        async with asyncio.timeout(2 * SECONDS), connected(journey.dsn) as connection:
            await until("live" if journey.web is None else "0 rows")
            await connection.execute("insert into items (owner_id, title) values (7, 'lamp')")
            await until("lamp")
            await connection.execute("update items set title = 'red lamp'")
            await until("red lamp")
            doctor = await asyncio.to_thread(diagnosed, journey)
            assert page.stdin is not None
            page.stdin.close()
            _, complaints = await page.communicate()
            assert (page.returncode, complaints.decode()) == (0, "")
    finally:
        if page.returncode is None:
            page.kill()
            await page.wait()
    assert "  ok  servers: " in doctor, doctor


def diagnosed(journey: Journey) -> str:
    """What `doctor` prints while the service runs."""
    done = subprocess.run(
        ["flowcraft", "doctor", "--quick"],
        cwd=journey.here, env=environment(**journey.variables), capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr
