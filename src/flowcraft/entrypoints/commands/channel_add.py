"""`flowcraft channel add`: plan every step of a new channel, show it, and apply all or nothing."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import click

from flowcraft.adapters.postgres.embedded import BinariesNotFound
from flowcraft.adapters.postgres.table_facts import columns_of
from flowcraft.entrypoints.commands.channel_plan import (
    ChannelOptions,
    ChannelPlan,
    annotation_of,
    database,
    edits_for_service,
    edits_for_table,
    field_of_column,
)
from flowcraft.entrypoints.commands.exit_status import USAGE, example, exit_on_error, fail
from flowcraft.entrypoints.commands.formatting import formatted_again
from flowcraft.errors import DeclarationError
from flowcraft.scaffolding.discovery import Hints, discover
from flowcraft.scaffolding.edits import Edit, PlaceUnknown, apply, shown
from flowcraft.scaffolding.naming import CONVENTION, Names, kebab_case, names_of, pascal_case
from flowcraft.scaffolding.plan import TRIGGER
from flowcraft.scaffolding.python_templates import method_name
from flowcraft.scaffolding.request import ChannelRequest, Field, Project
from flowcraft.scaffolding.types import OFFERED

if TYPE_CHECKING:
    from flowcraft.adapters.postgres.connections import Plain

_HINTS = {
    "--channels-module": "channels",
    "--events-module": "events",
    "--services": "services",
    "--migrations": "migrations",
    "--web": "web",
    "--tests": "tests",
}


@click.command(
    "add",
    epilog=example(
        "flowcraft channel add flow_update --table flows --event FlowUpdate --dry-run",
        "flowcraft channel add task_rows.{team_id} --rows --table tasks --event Task",
        "flowcraft channel add alerts.{alert_id} --event AlertRaised --field text:str --service Alerts",
    ),
)
@click.argument(
    "name",
    metavar="[NAME]",
    help="<entity>_update, <entity>_rows, <entity>.{id}, system or dashboard.",
    required=False,
)
@click.option("--event", help="The event class, such as FlowUpdate; an existing one is used.")
@click.option("--table", help="Pattern A: the table whose rows become events, by a trigger.")
@click.option(
    "--column",
    metavar="FIELD[=COLUMN]",
    help="A column to include. Default: all. May be repeated.",
    multiple=True,
)
@click.option(
    "--on", help="The row changes that become events: any of insert,update,delete.", default="insert,update"
)
@click.option("--rows", help="The channel has the rows of the table: its name ends in _rows.", is_flag=True)
@click.option("--key", metavar="FIELD[,FIELD]", help="Of rows: their key. Default: the primary key.")
@click.option(
    "--service", help="Pattern B: the service class that broadcasts the events; created if missing."
)
@click.option(
    "--field",
    metavar="NAME:TYPE",
    help="A field of the event, or the type of a column's field. May be repeated.",
    multiple=True,
)
@click.option(
    "--feature", help="The folder in features/ for the hook. Default: the name of the table or entity."
)
@click.option(
    "--dsn",
    metavar="DSN",
    help="The database to read columns from. Default: FLOWCRAFT_DSN, DATABASE_URL, or a scratch one.",
)
@click.option("--channels-module", metavar="MODULE[:NAME]", help="The module that creates Channels().")
@click.option("--events-module", metavar="MODULE", help="The module of the events.")
@click.option("--services", metavar="FOLDER", help="The folder of the services.")
@click.option("--migrations", metavar="FOLDER", help="The folder of .sql migrations, or an alembic.ini.")
@click.option("--web", metavar="FOLDER", help="The folder of the web application.")
@click.option("--no-web", help="Write no types and no hook: the pages are in another project.", is_flag=True)
@click.option("--tests", metavar="FOLDER", help="The folder of the Python tests.")
@click.option("--diff", help="Show the changes as a diff, too.", is_flag=True)
@click.option("--dry-run", help="Show what would change, and change nothing.", is_flag=True)
@click.option("--yes", "-y", help="Make the changes without asking.", is_flag=True)
@click.option("--ask/--no-ask", help="Prompt for missing options. Default: only on a terminal.", default=None)
def command(  # noqa: PLR0913  # options
    *,
    name: str | None,
    event: str | None,
    table: str | None,
    column: tuple[str, ...],
    on: str,
    rows: bool,
    key: str | None,
    service: str | None,
    field: tuple[str, ...],
    feature: str | None,
    dsn: str | None,
    channels_module: str | None,
    events_module: str | None,
    services: str | None,
    migrations: str | None,
    web: str | None,
    no_web: bool,
    tests: str | None,
    diff: bool,
    dry_run: bool,
    yes: bool,
    ask: bool | None,
) -> None:
    """Add a channel: event, source or service, TypeScript types, hook, and tests.

    Every change is planned first, and then made, all or none; --diff shows each line of it. Existing code
    stays as it is; a second run changes nothing. Tests are written for pytest and vitest where the project
    has them. On a terminal, the command prompts for missing options.
    """
    asking = sys.stdin.isatty() if ask is None else ask
    with exit_on_error():
        names = _names(name, asking)
        _check_rows(names, table, service, rows=rows)
        table, service = _origin(names, table, service, asking)
        if no_web and web is not None:
            fail("--web names the web application, --no-web writes nothing for it; choose one", USAGE)
        hints = Hints(channels_module, events_module, services, migrations, web, tests, has_web=not no_web)
        project = _project(hints, asking, from_table=table is not None)
        options = ChannelOptions(
            names,
            _event(event, names, asking),
            feature or _feature(names, table),
            _fields(field),
            _columns(column) or None,
            _operations(on),
            tuple([part.strip() for part in key.split(",")]) if key else (),
        )
        if table is not None:
            plan = _run(options, project, dsn, table, asking)
        else:
            assert service is not None
            plan = edits_for_service(_with_fields(options, project, asking), project, service)
        confirm = asking and not yes
        _finish(plan, project, options, (table, service), show=(diff, dry_run), confirm=confirm)


def _check_rows(names: Names, table: str | None, service: str | None, *, rows: bool) -> None:
    if rows and not names.are_rows:
        prefix, dot, rest = names.channel.partition(".")
        meant = f"{prefix.removesuffix('_update').removesuffix('s')}_rows{dot}{rest}"
        fail(f"--rows: the name of a channel of rows ends in _rows: {meant}", USAGE)
    if names.are_rows and (service is not None or table is None):
        fail(f"{names.channel} has the rows of a table; name it with --table TABLE", USAGE)


def _names(name: str | None, asking: bool) -> Names:
    if name is None and not asking:
        fail(f"the channel's name is missing: flowcraft channel add NAME\n{CONVENTION}", USAGE)
    if name is not None:
        return names_of(name)
    click.echo(CONVENTION)
    while True:
        try:
            return names_of(click.prompt("Name of the channel").strip())
        except DeclarationError as error:
            click.echo(str(error).partition("\n")[0])


def _origin(
    names: Names, table: str | None, service: str | None, asking: bool
) -> tuple[str | None, str | None]:
    if table is not None and service is not None:
        fail("--table makes the database write the events, --service a service; choose one", USAGE)
    if table is None and service is None:
        if not asking:
            fail(
                "no source for the events; use --table TABLE for the rows of a table (pattern A), "
                "or --service CLASS for a service that broadcasts them (pattern B)",
                USAGE,
            )
        table = click.prompt(
            "Table whose rows become events (empty: a service broadcasts them)",
            default="",
            show_default=False,
        )
        if not table:
            service = click.prompt(
                "Service that broadcasts them", default=f"{pascal_case(_singular(names))}Service"
            )
    return table or None, service


def _event(event: str | None, names: Names, asking: bool) -> str:
    proposed = (
        pascal_case(names.channel) if names.parameter is None else f"{pascal_case(names.variable)}Update"
    )
    if event is None and not asking:
        fail(f"the event's class is missing: --event {proposed}", USAGE)
    chosen = event or str(click.prompt("Class of the event", default=proposed)).strip()
    if not chosen.isidentifier() or not chosen[0].isupper():
        fail(f"--event {chosen!r} is not a class name such as {proposed}", USAGE)
    return chosen


def _feature(names: Names, table: str | None) -> str:
    if table is not None:
        return kebab_case(table.rpartition(".")[2].strip('"'))
    return kebab_case(names.entity)


def _project(hints: Hints, asking: bool, *, from_table: bool) -> Project:
    while True:
        try:
            return discover(Path.cwd(), hints, from_table=from_table)
        except PlaceUnknown as error:
            if not asking or getattr(hints, _HINTS[error.flag]) is not None:
                raise
            click.echo(str(error))
            named: dict[str, Any] = {_HINTS[error.flag]: click.prompt(error.flag.removeprefix("--"))}
            hints = replace(hints, **named)


def _with_fields(options: ChannelOptions, project: Project, asking: bool) -> ChannelOptions:
    exists = f"class {options.event}(" in (project.events.read_text("utf-8"))
    if options.fields or exists or not asking:
        return options
    click.echo(f"Fields of {options.event}, as NAME:TYPE; an empty line ends them. Types: {OFFERED}")
    given: list[str] = []
    while answer := click.prompt("Field", default="", show_default=False):
        given.append(answer)
    return replace(options, fields=_fields(given))


def _fields(given: Sequence[str]) -> tuple[Field, ...]:
    fields: list[Field] = []
    for text in given:
        name, colon, annotation = (part.strip() for part in text.partition(":"))
        if not (name and colon and annotation):
            fail(f"--field {text!r} is not of the form NAME:TYPE, such as message:str", USAGE)
        fields.append(Field(name, annotation))
    return tuple(fields)


def _columns(given: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    return {name.strip(): (column or name).strip() for name, _, column in pairs}


def _operations(on: str) -> tuple[str, ...]:
    chosen = tuple(word.strip() for word in on.split(","))
    if not set(chosen) <= {"insert", "update", "delete"}:
        fail(f"--on {on!r} is not a list of insert, update and delete, such as --on insert,delete", USAGE)
    return chosen


def _run(options: ChannelOptions, project: Project, dsn: str | None, table: str, asking: bool) -> ChannelPlan:
    async def run() -> ChannelPlan:
        async with database(project, dsn) as connection:
            chosen = (
                await _with_chosen_columns(options, connection, table)
                if asking and options.columns is None
                else options
            )
            return await edits_for_table(chosen, project, connection, table)

    try:
        return asyncio.run(run())
    except BinariesNotFound as error:
        fail(f"{error}; or use a database that has the tables, with --dsn", USAGE)
    except asyncpg.PostgresError as error:
        fail(f"the database reported an error: {error}; nothing was changed")


async def _with_chosen_columns(options: ChannelOptions, connection: Plain, table: str) -> ChannelOptions:
    columns = await columns_of(connection, table)
    click.echo(f"Columns of {table}, as fields of {options.event}:")
    present = [column.name for column in columns]
    fields = {field_of_column(options.names, column.name, present): column for column in columns}
    for name, column in fields.items():
        source = "" if name == column.name else f"  (from {column.name})"
        click.echo(f"  {name}: {annotation_of(column)}{source}")
    answer = str(click.prompt("Which, separated by commas", default="all")).strip()
    if answer == "all":
        return options
    picked = [word.strip() for word in answer.split(",")]
    return replace(options, columns={n: fields[n].name if n in fields else n for n in picked})


def _singular(names: Names) -> str:
    return names.variable.removesuffix("_update")


def _finish(
    plan: ChannelPlan,
    project: Project,
    options: ChannelOptions,
    origin: tuple[str | None, str | None],
    *,
    show: tuple[bool, bool],
    confirm: bool,
) -> None:
    """Show the plan and carry it out; `show` is whether to print the diff, and whether that is all."""
    here = Path.cwd()
    changes = [edit for edit in plan.edits if edit.changes]
    if not changes:
        click.echo(f"{options.names.channel} is complete already; nothing to do")
        return
    diff, dry_run = show
    for edit in changes if diff else ():
        click.echo(edit.diff(here))
    for line in summary(plan, project, options, origin):
        click.echo(line)
    if dry_run:
        click.echo("dry run: nothing was changed")
        return
    if confirm and not click.confirm("Make these changes?", default=True):
        fail("nothing was changed")
    apply(changes)
    apply(formatted_again(changes))
    click.echo(f"next        {_next(plan.edits, project, options, origin[1])}")


def summary(
    plan: ChannelPlan, project: Project, options: ChannelOptions, origin: tuple[str | None, str | None]
) -> list[str]:
    """Return the lines about a planned channel: its source, the files, the migration, who may subscribe."""
    here = Path.cwd()
    table, service = origin
    of_a_table = f"{'the rows' if options.names.are_rows else 'changed rows'} of {table}"
    source = of_a_table if table is not None else f"broadcast by {service}"
    written = [shown(e.path, here) for e in plan.edits if e.before is None and e.step != TRIGGER]
    changed = [shown(e.path, here) for e in plan.edits if e.changes and e.before is not None]
    parts = [("write ", written), ("change ", changed)]
    files = "; ".join(word + ", ".join(sorted(paths)) for word, paths in parts if paths)
    lines = [f"{options.names.channel}: {source}, as {options.event}", f"files       {files}"]
    if table is not None:
        lines.append(f"migration   {_migration(plan.edits, project)}")
    guard = "" if plan.viewers.startswith("those") else f"; restrict it with @{options.names.variable}.guard"
    return [*lines, f"subscribers {plan.viewers}{guard}"]


def _migration(edits: Sequence[Edit], project: Project) -> str:
    paths = [shown(edit.path, Path.cwd()) for edit in edits if edit.step == TRIGGER]
    if paths:
        return paths[0]
    if project.django:
        return "written by manage.py makerealtimemigrations"
    return "no file; flowcraft migrate changes the database"


def _in_folder(command: str, file: Path | None) -> str:
    """Return a command to run where a file is."""
    folder = "." if file is None else shown(file.parent, Path.cwd())
    return command if folder == "." else f"(cd {folder} && {command})"


def _next(edits: Sequence[Edit], project: Project, options: ChannelOptions, service: str | None) -> str:
    """Return what to do next, in one line."""
    if service is not None:
        request = ChannelRequest(options.names, options.event, options.fields, options.feature, None, service)
        return (
            f"pass a RealtimeService to {service} where you construct it, and call {method_name(request)}(…)"
        )
    triggers = [edit.path for edit in edits if edit.step == TRIGGER]
    if triggers and triggers[0].suffix == ".py":
        act = _in_folder("alembic upgrade head", project.alembic)
    elif triggers:
        act = f"apply {shown(triggers[0], Path.cwd())}, or flowcraft migrate {project.target}"
    elif project.django:
        act = "python manage.py makerealtimemigrations && python manage.py migrate"
    else:
        act = f"flowcraft migrate {project.target}"
    return f"{act}, then restart the service"
