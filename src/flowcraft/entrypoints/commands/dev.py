"""`flowcraft dev`: migrate, generate, check and serve, and again at every change."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import click

from flowcraft.adapters.host_limits import uvicorn_flags
from flowcraft.adapters.postgres.address import DSN_VARIABLES, NoDatabase, find_dsn
from flowcraft.entrypoints.commands.exit_status import example, exit_on_error, fail
from flowcraft.entrypoints.commands.importing import read_env_file
from flowcraft.entrypoints.commands.target import AppTarget, find_target, target_argument
from flowcraft.entrypoints.source_watch import changed, seen, wait_for_change
from flowcraft.scaffolding.applications import find_application
from flowcraft.scaffolding.discovery import generated_types
from flowcraft.scaffolding.edits import PlaceUnknown, shown
from flowcraft.scaffolding.remembered import Remembered, remembered
from flowcraft.settings import Settings

_OURS = (sys.executable, "-m", "flowcraft.entrypoints.cli")
_STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class CycleStep:
    """One step of a cycle: its name, and its command."""

    name: str
    command: tuple[str, ...]
    where: Path


@dataclass(frozen=True, slots=True)
class Cycle:
    """What one change of the sources sets off: migrations, the server, and then the types and the checks."""

    migrations: tuple[CycleStep, ...]
    server: CycleStep
    after: tuple[CycleStep, ...]


@click.command(
    "dev",
    epilog=example(
        "flowcraft dev",
        "flowcraft dev --app app.main:app --port 8010",
        done="interrupted",
        failed="the project cannot be served",
    ),
)
@target_argument
@click.option(
    "--app",
    metavar="MODULE:NAME",
    help="The ASGI application. Default: that of [tool.flowcraft], then the one in the code, then "
    "`flowcraft serve`.",
)
@click.option("--host", help="The address to listen on.", default="127.0.0.1")
@click.option("--port", help="The port to listen on.", type=click.IntRange(min=1, max=65535), default=8000)
@click.option("--migrate/--no-migrate", help="Migrate the database before the server starts.", default=True)
@click.option("--check/--no-check", help="Check the channels after the server has started.", default=True)
def command(  # options
    *, target: str | None, app: str | None, host: str, port: int, migrate: bool, check: bool
) -> None:
    """Migrate, generate the types, check and serve, for the loop of a working day.

    Each change of a source begins again: the project's own migrations (Alembic, Django) and those of the
    channels, the server, the TypeScript, the checks. Without a database address an embedded PostgreSQL runs
    in the folder .postgres. Ctrl-C ends it.
    """
    here = Path.cwd()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C
    with exit_on_error(), suppress(KeyboardInterrupt):
        found, known = find_target(target, kind="Realtime"), remembered(here)
        listen = ("--host", host, "--port", str(port))
        with _database(here, found.root) as environment:
            environment["PORT"] = str(port)
            cycle = _cycle(here, found, known, app, listen, migrate=migrate, check=check)
            _run(cycle, [here, *([] if found.root.is_relative_to(here) else [found.root])], environment)


def _cycle(  # of options
    here: Path,
    target: AppTarget,
    known: Remembered | None,
    app: str | None,
    listen: tuple[str, ...],
    *,
    migrate: bool,
    check: bool,
) -> Cycle:
    named = (target.name,)
    migrations = [
        *_own_migrations(target.root, here),
        CycleStep("migrate", (*_OURS, "migrate", *named), here),
    ]
    if known is not None and known.run is not None and app is None:
        server, migrations = CycleStep("serve", tuple(shlex.split(known.run)), known.folder), []
    else:
        server = _server(here, target, app or (known.app if known else None), listen)
    after: list[CycleStep] = []
    if (types := generated_types(here)) is not None:
        generate = (*_OURS, "codegen", "typescript", *named, "--out", shown(types, here))
        after.append(CycleStep("types", generate, here))
    if check:
        after.append(CycleStep("check", (*_OURS, "check", *named), here))
    return Cycle(tuple(migrations) if migrate else (), server, tuple(after))


def _own_migrations(root: Path, here: Path) -> list[CycleStep]:
    """Return the step of the project's own migrations: those of Alembic or of Django."""
    for folder in dict.fromkeys((root, here)):
        if (folder / "alembic.ini").is_file() and find_spec("alembic") is not None:
            return [CycleStep("alembic", (sys.executable, "-m", "alembic", "upgrade", "head"), folder)]
        if (folder / "manage.py").is_file():
            return [CycleStep("django", (sys.executable, "manage.py", "migrate", "--no-input"), folder)]
    return []


def _server(here: Path, target: AppTarget, app: str | None, listen: tuple[str, ...]) -> CycleStep:
    if app is None:
        try:
            found = find_application(here, None)
            app, root = f"{found.module}:{found.variable}", found.root
        except PlaceUnknown as error:
            if error.candidates:
                raise
            return CycleStep("serve", (*_OURS, "serve", target.name, *listen), here)
    else:
        root = target.root
    if find_spec("uvicorn") is None:
        fail("uvicorn is not installed here, which serves the application; run `pip install uvicorn`")
    options = ("--app-dir", str(root), *listen, *uvicorn_flags(Settings().message_bytes))
    return CycleStep("serve", (sys.executable, "-m", "uvicorn", app, *options), root)


@contextmanager
def _database(here: Path, root: Path) -> Iterator[dict[str, str]]:
    """Yield the environment of the steps: with the configured database, or with one of our own."""
    read_env_file(here, DSN_VARIABLES, root)
    try:
        find_dsn(None)
    except NoDatabase:
        pass
    else:
        yield dict(os.environ)
        return
    from flowcraft.adapters.postgres.embedded import EmbeddedPostgres

    with EmbeddedPostgres.start(here / ".postgres", durable=True) as server:
        click.echo(f"database  no address is configured: an embedded PostgreSQL in .postgres ({server.dsn})")
        yield {**os.environ, "DATABASE_URL": server.dsn}


def _run(cycle: Cycle, folders: Sequence[Path], environment: dict[str, str]) -> None:
    server: subprocess.Popen[bytes] | None = None
    try:
        while True:
            before = seen(folders)
            failed = [step for step in cycle.migrations if not _done(step, environment)]
            server = _started(cycle.server, environment)
            for step in cycle.after:
                _done(step, environment)
            for step in failed:  # an application may make its tables when it starts
                _done(step, environment)
            click.echo("waiting for changes; Ctrl-C ends")
            now = wait_for_change(folders, before, _Watched(server))
            names = ", ".join(shown(path, Path.cwd()) for path in changed(before, now)[:3])
            click.echo(f"changed   {names}")
            _stop(server)
    finally:
        if server is not None:
            _stop(server)


class _Watched:
    """Reports the end of a server once."""

    def __init__(self, server: subprocess.Popen[bytes]) -> None:
        self._server = server
        self._has_ended = False

    def __call__(self) -> None:
        if not self._has_ended and self._server.poll() is not None:
            self._has_ended = True
            click.echo(f"the server ended with status {self._server.returncode}; waiting for changes")


def _started(step: CycleStep, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    ours = step.command[0] == sys.executable
    click.echo(f"{step.name:9} {shlex.join(step.command[1:] if ours else step.command)}")
    return subprocess.Popen(step.command, cwd=step.where, env=environment)  # noqa: S603  # the project's own server


def _stop(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is not None:
        return
    server.terminate()
    try:
        server.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _done(step: CycleStep, environment: dict[str, str]) -> bool:
    """Run a step to its end; print its last line, or all of it if it fails."""
    done = subprocess.run(  # noqa: S603  # our own commands, and the project's migrations
        step.command, cwd=step.where, env=environment, capture_output=True, text=True, check=False
    )
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    last = lines[-1] if lines else "done"
    click.echo(f"{step.name:9} {last if done.returncode == 0 else 'failed'}")
    for line in lines if done.returncode else ():
        click.echo(f"          {line}")
    return done.returncode == 0
