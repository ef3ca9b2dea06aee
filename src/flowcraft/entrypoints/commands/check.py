"""`flowcraft check`: check every channel from its declaration to the component."""

from __future__ import annotations

import asyncio
import os
import traceback
from pathlib import Path

import click

from flowcraft.adapters.postgres.address import DatabaseAddressInvalid, NoDatabase
from flowcraft.adapters.postgres.inspection import DatabaseFacts, inspect
from flowcraft.channels import Channels
from flowcraft.checking.facts import Facts, Generated, Problem, SourceLocation, WebFacts
from flowcraft.checking.findings import Rule, findings
from flowcraft.checking.python_sources import read_python
from flowcraft.checking.reports import Outcome, as_github, as_json, as_text
from flowcraft.checking.rules import DATABASE, RULES, SERVICE, WEB
from flowcraft.checking.typescript_sources import find_web_folders, is_javascript, read_typescript
from flowcraft.codegen.typescript import generate_typescript
from flowcraft.entrypoints.commands.exit_status import FAILED, USAGE, example, fail
from flowcraft.entrypoints.commands.importing import import_module
from flowcraft.entrypoints.commands.target import (
    AppTarget,
    channels_of,
    dsn_option,
    find_target,
    realtime_of,
    target_argument,
)
from flowcraft.entrypoints.realtime import NotOnPostgres
from flowcraft.errors import DeclarationError
from flowcraft.scaffolding.remembered import remembered


@click.command(
    "check",
    epilog=example(
        "flowcraft check app.realtime:channels --web web --dsn postgresql://localhost/app",
        "flowcraft check app.realtime:channels --github --ignore FC022",
        done="no problem found",
        failed="an error or a warning found",
    ),
)
@target_argument
@click.option(
    "--web",
    metavar="DIR",
    help="The web folder. Default: the one whose package.json depends on @flowcraft/realtime.",
    type=click.Path(path_type=Path),
)
@dsn_option
@click.option("--json", help="Print one JSON object.", is_flag=True)
@click.option("--github", help="Print annotations for GitHub Actions.", is_flag=True)
@click.option(
    "--ignore",
    metavar="ID",
    help="Skip a check, such as FC022. May be repeated.",
    multiple=True,
)
@click.option("--list", "listed", help="List all checks and exit.", is_flag=True)
def command(
    *,
    target: str | None,
    web: Path | None,
    dsn: str | None,
    json: bool,
    github: bool,
    ignore: tuple[str, ...],
    listed: bool,
) -> None:
    """Check that every channel is complete, from its declaration to the component.

    Checks event types and names, database triggers or broadcast calls, generated types, the subscriptions
    and hooks of the web folder, and the database itself. Changes nothing.
    """
    if json and github:
        fail("--json and --github are two formats of one report; choose one", USAGE)
    if listed:
        for rule in RULES:
            click.echo(f"{rule.id}  {rule.severity:7}  {rule.title}")
        return
    ignored = _known(ignore)
    facts, skipped = _facts(find_target(target), web, dsn)
    rules = [rule for rule in _rules(facts) if rule.id not in ignored]
    outcome = Outcome(findings(facts, rules), len(rules), skipped)
    if json:
        click.echo(as_json(outcome))
    else:
        for line in as_github(outcome) if github else as_text(outcome):
            click.echo(line)
    raise click.exceptions.Exit(FAILED if outcome.findings else 0)


def _known(ids: tuple[str, ...]) -> tuple[str, ...]:
    for one in ids:
        if one not in [rule.id for rule in RULES]:
            fail(f"there is no check {one}; see `flowcraft check --list`", USAGE)
    return ids


def _rules(facts: Facts) -> tuple[Rule, ...]:
    if facts.channels is None:
        return SERVICE[:1]
    return (*SERVICE, *(WEB if facts.web else ()), *(DATABASE if facts.database else ()))


def _facts(found: AppTarget, web: Path | None, dsn: str | None) -> tuple[Facts, list[str]]:
    target = found.name
    failure = _import_failure(found)
    if failure is not None:
        return Facts(target, failure=failure), []
    channels = channels_of(found)
    skipped: list[str] = []
    read = _web(web, skipped)
    python = read_python(found.root if found.root.is_relative_to(Path.cwd()) else Path.cwd(), channels)
    try:
        generated = _generated(channels, read)
    except DeclarationError as error:
        named = [place for name, place in python.declared.items() if name in str(error)]
        return Facts(target, failure=Problem(named[-1] if named else None, str(error))), []
    return Facts(
        target,
        channels,
        python=python,
        web=read,
        generated=generated,
        database=_database(found, dsn, channels, skipped),
    ), skipped


# The service


def _import_failure(target: AppTarget) -> Problem | None:
    """Import the module of the channels; return the reason if that fails.

    A missing module is not reported here: loading the target reports it, with what to name instead.
    """
    name = target.module
    try:
        import_module(name, target.root)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            return None
        return _problem(error)
    except (ValueError, TypeError) as error:
        return None if not name or name.startswith(".") else _problem(error)
    except Exception as error:  # noqa: BLE001  # whatever the application's module does
        return _problem(error)
    return None


def _problem(error: Exception) -> Problem:
    text = f"{type(error).__name__}: {error}" if not isinstance(error, DeclarationError) else str(error)
    if isinstance(error, SyntaxError) and error.filename:
        return Problem(_place(error.filename, error.lineno or 1), f"{type(error).__name__}: {error.msg}")
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_ours(frame.filename)]
    return Problem(_place(own[-1].filename, own[-1].lineno or 1) if own else None, text)


def _is_ours(filename: str) -> bool:
    """Return whether a file belongs to the project, and not to a library or to this package."""
    path = Path(filename)
    library = path.is_relative_to(Path(__file__).parents[2]) or "site-packages" in path.parts
    return path.is_relative_to(Path.cwd()) and not library


def _place(filename: str, line: int) -> SourceLocation:
    path = Path(filename)
    return SourceLocation(
        str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else filename, line
    )


# The web


def _web(web: Path | None, skipped: list[str]) -> WebFacts | None:
    if web is not None and not web.is_dir():
        fail(f"there is no folder {web}; name the web folder with --web DIR", USAGE)
    known = remembered(Path.cwd()) if web is None else None
    if known is not None and known.web_folder is not None:
        web = Path(os.path.relpath(known.web_folder))
    if web is not None:
        return _read(web, skipped)
    found = [folder.relative_to(Path.cwd()) for folder in find_web_folders(Path.cwd())]
    if len(found) > 1:
        fail(f"found several web folders; name one: --web {' | '.join(map(str, found))}", USAGE)
    if not found:
        skipped.append("TypeScript: no package.json here depends on @flowcraft/realtime; see --web")
        return None
    return _read(found[0], skipped)


def _read(web: Path, skipped: list[str]) -> WebFacts | None:
    if is_javascript(web):
        skipped.append(f"the pages in {web}: JavaScript; to read them, install typescript there")
        return None
    return read_typescript(web)


def _generated(channels: Channels, web: WebFacts | None) -> tuple[Generated, ...]:
    files = [file.path for file in web.files if file.generated] if web else []
    wanted = generate_typescript(channels)
    return tuple(Generated(path, Path(path).read_text("utf-8"), wanted) for path in files)


# The database


def _database(
    target: AppTarget, dsn: str | None, channels: Channels, skipped: list[str]
) -> DatabaseFacts | None:
    try:
        address = realtime_of(target, dsn).dsn
    except NoDatabase:
        skipped.append("the database: no address is configured; use --dsn, or set DATABASE_URL")
        return None
    except NotOnPostgres as error:
        skipped.append(f"the database: {error}")
        return None
    except DatabaseAddressInvalid as error:
        fail(str(error), USAGE)
    return asyncio.run(inspect(address, channels))
