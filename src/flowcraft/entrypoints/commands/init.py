"""`flowcraft init`: create a project with a live page, or add realtime to an existing application."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import click

from flowcraft.adapters.postgres.address import DSN_VARIABLES, NoDatabase, find_dsn
from flowcraft.entrypoints.commands.exit_status import USAGE, example, exit_on_error, fail
from flowcraft.entrypoints.commands.formatting import formatted, formatted_edit
from flowcraft.entrypoints.commands.importing import read_env_file
from flowcraft.entrypoints.starter_types import types_of_a_new_project, types_of_an_application
from flowcraft.scaffolding.applications import Application, find_application, has_sessions, missing_asgi
from flowcraft.scaffolding.django_settings import SettingsPlan, plan_settings
from flowcraft.scaffolding.edits import Asset, Edit, PlaceUnknown, apply, shown
from flowcraft.scaffolding.mounting import CHANNELS, MOUNT, Served, plan_mount, plan_realtime
from flowcraft.scaffolding.npm_package import npm_package
from flowcraft.scaffolding.page_origins import page_origins
from flowcraft.scaffolding.pages import WebPlan, find_web, plan_page, plan_web
from flowcraft.scaffolding.project_files import files_below
from flowcraft.scaffolding.python_project import address_expression, locking, plan_project
from flowcraft.scaffolding.python_text import with_import
from flowcraft.scaffolding.starting import Page, plan_start

_NEEDED = ("fastapi", "uvicorn")


@dataclass(frozen=True, slots=True)
class _InitOptions:
    folder: Path
    app: str | None
    web: str | None
    page: bool
    react: bool
    dry_run: bool
    confirm: bool


@click.command(
    "init",
    epilog=example(
        "flowcraft init hello && cd hello && pip install -e '.[dev]' && python -m app",
        "cd my-fastapi-project && flowcraft init --dry-run",
    ),
)
@click.argument(
    "folder",
    metavar="[FOLDER]",
    help="A new or empty folder, or the folder of a project.",
    type=click.Path(path_type=Path),
    default=Path(),
)
@click.option(
    "--react", help="For a new project: a page in React and TypeScript, built with Vite.", is_flag=True
)
@click.option(
    "--app",
    metavar="FILE.py[:NAME]",
    help="For an existing project: the application. Default: searched in the code.",
)
@click.option("--web", metavar="FOLDER", help="For an existing project: the folder of the React application.")
@click.option(
    "--page/--no-page",
    help="For an existing project without React: add a first page, served at /live.",
    default=True,
)
@click.option("--dry-run", help="Show the changes without making them.", is_flag=True)
@click.option("--yes", "-y", help="Make the changes without asking.", is_flag=True)
def command(
    *, folder: Path, react: bool, app: str | None, web: str | None, page: bool, dry_run: bool, yes: bool
) -> None:
    """Create a project, or add realtime to a FastAPI, Starlette, Litestar or Django application.

    In an empty folder the command writes a small service with one channel on one table, and a page that shows
    the table as it is committed. In a project it finds the application in the code, and adds a module for the
    channels, the lines that serve them, and a page or, for a React application, the client. Existing code
    stays as it is; a second run changes nothing.
    """
    options = _InitOptions(folder.absolute(), app, web, page, react, dry_run, sys.stdin.isatty() and not yes)
    with exit_on_error():
        if not folder.exists() or not any(files_below(folder, ".py")):
            _start(options)
        elif react:
            fail(f"--react is for new projects, and {folder} has Python code; leave out --react", USAGE)
        else:
            _add(options)


# A new project


def _start(options: _InitOptions) -> None:
    if options.app is not None or options.web is not None:
        fail(
            f"{options.folder} has no Python code, so a new project is created; leave out --app and --web",
            USAGE,
        )
    page: Page = "react" if options.react else "plain"
    edits, assets = plan_start(options.folder, page, types_of_a_new_project(), npm_package())
    changes = [edit for edit in edits if edit.changes]
    _list(edits, assets)
    if options.dry_run:
        click.echo("dry run: nothing was changed")
        return
    apply(changes, assets)
    click.echo(f"created {shown(options.folder, Path.cwd())}. Next:")
    for line in _steps_of_a_new_project(options):
        click.echo(f"  {line}")


def _steps_of_a_new_project(options: _InitOptions) -> list[str]:
    place = shown(options.folder, Path.cwd())
    missing = [name for name in _NEEDED if find_spec(name) is None]
    return [
        *([] if place == os.curdir else [f"cd {place}"]),
        *(["pip install -e '.[dev]'"] if missing else []),
        *(["(cd web && npm install && npm run build)"] if options.react else []),
        "python -m app",
    ]


# An existing application


def _add(options: _InitOptions) -> None:
    application = _found(options)
    react = find_web(options.folder, options.web)
    served = plan_realtime(options.folder, application, page=options.page and react is None)
    served = _with_address(options.folder, application, served)
    mount = plan_mount(options.folder, application, served)
    web = _plan_web(react, served, application)
    served, web = _with_origins(application, served, web)
    settings = _settings(options.folder, application, served)
    project = plan_project(application.root, options.folder, _places(application, served, react))
    edits = [*([served.edit] if served.edit else []), *project, *mount, *settings.edits, *web.edits]
    edits = [_formatted(edit) for edit in edits]
    if not any(edit.changes for edit in edits) and not any(asset.changes for asset in web.assets):
        click.echo(f"the application serves {served.target} already; nothing to do")
        return
    for edit in edits:
        if edit.changes and edit.step in (CHANNELS, MOUNT):
            click.echo(edit.diff(Path.cwd()))
    _list(edits, web.assets)
    if options.dry_run:
        click.echo("dry run: nothing was changed")
        return
    if options.confirm and not click.confirm("Make these changes?", default=True):
        fail("nothing was changed")
    apply([edit for edit in edits if edit.changes], web.assets)
    apply([edit for edit in _formatted_again(edits) if edit.changes])
    click.echo(f"the {application.framework} application serves {served.target} at /realtime. Next:")
    lock = locking(application.root, options.folder)
    if lock is not None and any(edit.changes for edit in project):
        click.echo(f"  {lock}   (flowcraft-realtime is a new dependency)")
    for line in _steps_of_an_application(application, served, web, settings):
        click.echo(f"  {line}")


def _with_address(folder: Path, application: Application, served: Served) -> Served:
    """Give a new module the address that the project's engine of SQLAlchemy has."""
    if served.edit is None or served.edit.before is not None or application.framework == "Django":
        return served
    found = address_expression(folder, application.root, application.path)
    if found is None:
        return served
    text = served.edit.after.replace("Realtime(channels)", f"Realtime(channels, dsn={found.text})", 1)
    for module, name in found.imports:
        text = with_import(text, module, name)
    return replace(served, edit=replace(served.edit, after=text), has_address=True)


def _with_origins(application: Application, served: Served, web: WebPlan) -> tuple[Served, WebPlan]:
    """Let in the pages of other origins that the application's CORS middleware lets in."""
    origins = page_origins(application) if web.has_address else None
    if served.edit is None or served.edit.before is not None or origins is None:
        return served, web
    if origins.text is None:
        line = (
            f"in {served.module}, pass settings=Settings(allowed_origins=(…,)), as your CORS middleware has"
        )
        return served, replace(web, by_hand=(*web.by_hand, line))
    given = f"Realtime(channels, settings=Settings(allowed_origins={origins.text}), "
    text = served.edit.after.replace("Realtime(channels, ", given, 1)
    text = text.replace("Realtime(channels)", f"{given.removesuffix(', ')})", 1)
    for module, name in (("flowcraft", "Settings"), *origins.imports):
        text = with_import(text, module, name)
    return replace(served, edit=replace(served.edit, after=text)), web


def _places(application: Application, served: Served, react: Path | None) -> dict[str, Path | str]:
    """Return what later commands need to find."""
    app = {} if application.indent else {"app": f"{application.module}:{application.variable}"}
    web: dict[str, Path | str] = {} if react is None else {"web": react}
    return {"realtime": served.target, "path": served.root, **app, **web}


def _settings(folder: Path, application: Application, served: Served) -> SettingsPlan:
    """Plan the settings of a Django project."""
    if application.framework != "Django":
        return SettingsPlan()
    text = application.path.read_text("utf-8")
    return plan_settings(folder, application.path, text, application.root, served.target.replace(":", "."))


def _found(options: _InitOptions) -> Application:
    try:
        return find_application(options.folder, options.app)
    except PlaceUnknown as error:
        if error.candidates:
            raise
        if options.app is None and (asgi := missing_asgi(options.folder)) is not None:
            _offer(asgi, options)
            return find_application(options.folder, None)
        fail(
            f"{error}, or wrap your ASGI application by hand with app = realtime.asgi(app); "
            "for a new project, run `flowcraft init NAME`"
        )


def _offer(asgi: Edit, options: _InitOptions) -> None:
    """Write the `asgi.py` that a Django project lacks; without it, there is nothing to serve."""
    click.echo(asgi.diff(Path.cwd()))
    if options.dry_run:
        click.echo("dry run: nothing was changed; the rest is planned once asgi.py is there")
        raise click.exceptions.Exit
    if options.confirm and not click.confirm("The Django project has no asgi.py. Write it?", default=True):
        fail("nothing was changed")
    apply([asgi])


def _plan_web(react: Path | None, served: Served, application: Application) -> WebPlan:
    if served.page is not None:
        return plan_page(served.page, types_of_an_application())
    if react is None or served.edit is None or served.edit.before is not None:
        return WebPlan()  # the channels are the project's own, and so are the generated types
    return plan_web(react, types_of_an_application(), served.path, cookies=has_sessions(application))


def _formatted(edit: Edit) -> Edit:
    if edit.before is not None:
        return formatted_edit(edit)
    return Edit(edit.step, edit.path, None, formatted(edit.path, edit.after))


def _formatted_again(edits: Sequence[Edit]) -> list[Edit]:
    """Return what ruff changes in files that it had formatted: it sorts imports by the modules it finds."""
    formatted.cache_clear()
    tidy = [e for e in edits if e.before is not None and formatted(e.path, e.before) == e.before]
    return [Edit(e.step, e.path, e.after, formatted(e.path, e.after)) for e in tidy]


def _steps_of_an_application(
    application: Application, served: Served, web: WebPlan, settings: SettingsPlan
) -> list[str]:
    folder = shown(served.root, Path.cwd())
    first = served.edit is not None and served.edit.before is None
    django = application.framework == "Django"
    serve = f"uvicorn {application.module}:{application.variable}   (or another ASGI server)"
    page = "open /live/index.html" if django else "open /live/"
    first_event = f"""flowcraft broadcast {served.target} system '{{"text": "hello"}}'"""
    return [
        *web.by_hand,
        *settings.by_hand,
        *(["npm install   (in the web folder)"] if web.edits and served.page is None else []),
        *([] if folder == os.curdir else [f"cd {folder}"]),
        *([] if served.has_address or _has_address(served.root) else ["export DATABASE_URL=postgresql://…"]),
        *(["pip install uvicorn"] if django and find_spec("uvicorn") is None else []),
        *(_django_migrates(settings) if settings.migrates else [f"flowcraft migrate {served.target}"]),
        serve if django else "restart the application",
        *([page] if served.page is not None else []),
        *([first_event] if first else []),
        "flowcraft channel add NAME --table TABLE --event CLASS   (a table's committed rows)",
    ]


def _has_address(root: Path) -> bool:
    """Return whether the environment or a `.env` has the database's address."""
    read_env_file(Path.cwd(), DSN_VARIABLES, root)
    try:
        find_dsn(None)
    except NoDatabase:
        return False
    return True


def _django_migrates(settings: SettingsPlan) -> list[str]:
    return [f"python manage.py makerealtimemigrations {settings.app}", "python manage.py migrate"]


def _list(edits: Sequence[Edit], assets: Sequence[Asset]) -> None:
    here = Path.cwd()
    rows = [(edit.step, _verb(edit), _as_listed(shown(edit.path, here))) for edit in edits]
    rows += [(a.step, "write" if a.changes else "keep", shown(a.path, here)) for a in assets]
    for step, verb, path in dict.fromkeys(sorted(rows, key=lambda row: row[0])):
        click.echo(f"{step:19} {verb:6} {path}")


def _verb(edit: Edit) -> str:
    return "keep" if not edit.changes else "write" if edit.before is None else "change"


def _as_listed(path: str) -> str:
    """Return a path to list; vendored files are listed as their folder."""
    before, vendor, after = path.partition("/vendor/")
    return f"{before}{vendor}{after.partition('/')[0]}/" if vendor else path
