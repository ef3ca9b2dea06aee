"""`flowcraft init`: a new project with a live page, or realtime in an application that is there already."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import click

from flowcraft.entrypoints.commands.formatting import polished, polished_edit
from flowcraft.entrypoints.commands.reporting import USAGE, example, fail, failures_told
from flowcraft.entrypoints.starter_types import types_of_a_new_project, types_of_an_application
from flowcraft.scaffolding.applications import Application, find_application
from flowcraft.scaffolding.discovery import files_below
from flowcraft.scaffolding.edits import Asset, Edit, PlaceUnknown, apply, shown
from flowcraft.scaffolding.mounting import CHANNELS, MOUNT, Served, plan_mount, plan_realtime
from flowcraft.scaffolding.npm_package import npm_package
from flowcraft.scaffolding.pages import WebPlan, find_web, plan_page, plan_web
from flowcraft.scaffolding.starting import Page, plan_start

_NEEDED = ("fastapi", "uvicorn")


@dataclass(frozen=True, slots=True)
class _Wish:
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
    help="A new or empty folder, or that of a project.",
    type=click.Path(path_type=Path),
    default=Path(),
)
@click.option("--react", help="New projects: a page in React and TypeScript, built by Vite.", is_flag=True)
@click.option(
    "--app", metavar="FILE.py[:NAME]", help="Projects: where the application is; else it is looked for."
)
@click.option("--web", metavar="FOLDER", help="Projects: the folder of the React application.")
@click.option(
    "--page/--no-page",
    help="Projects without a React application: add a first page, served at /live.",
    default=True,
)
@click.option("--dry-run", help="Show what would change; change nothing.", is_flag=True)
@click.option("--yes", "-y", help="Make the changes without asking.", is_flag=True)
def command(
    *, folder: Path, react: bool, app: str | None, web: str | None, page: bool, dry_run: bool, yes: bool
) -> None:
    """Start with realtime: a new project, or your FastAPI, Starlette, Litestar or Django application.

    In an empty folder it writes a small service with one channel on one table, and a page that shows the
    table as it is committed. In a project it finds the application in the code, and adds a module for the
    channels, the lines that serve them, and a page or, for a React application, the client. What is there
    stays as it is; a second run has nothing to do.
    """
    wish = _Wish(folder.absolute(), app, web, page, react, dry_run, sys.stdin.isatty() and not yes)
    with failures_told():
        if not folder.exists() or not any(files_below(folder, ".py")):
            _start(wish)
        elif react:
            fail(f"--react is for new projects, and {folder} has one; leave it out", USAGE)
        else:
            _add(wish)


# A new project


def _start(wish: _Wish) -> None:
    if wish.app is not None or wish.web is not None:
        fail(f"{wish.folder} has no Python module yet; leave out --app and --web for a new project", USAGE)
    page: Page = "react" if wish.react else "plain"
    edits, assets = plan_start(wish.folder, page, types_of_a_new_project(), npm_package())
    changes = [edit for edit in edits if edit.changes]
    _list(edits, assets)
    if wish.dry_run:
        click.echo("nothing was changed: this was a dry run")
        return
    apply(changes, assets)
    click.echo(f"{shown(wish.folder, Path.cwd())} is there. Next:")
    for line in _steps_of_a_new_project(wish):
        click.echo(f"  {line}")


def _steps_of_a_new_project(wish: _Wish) -> list[str]:
    place = shown(wish.folder, Path.cwd())
    missing = [name for name in _NEEDED if find_spec(name) is None]
    return [
        *([] if place == os.curdir else [f"cd {place}"]),
        *(["pip install -e '.[dev]'"] if missing else []),
        *(["(cd web && npm install && npm run build)"] if wish.react else []),
        "python -m app",
    ]


# An application that is there


def _add(wish: _Wish) -> None:
    application = _found(wish)
    react = find_web(wish.folder, wish.web)
    served = plan_realtime(wish.folder, application, page=wish.page and react is None)
    mount = plan_mount(wish.folder, application, served)
    web = _plan_web(react, served)
    edits = [*([served.edit] if served.edit else []), *mount, *web.edits]
    edits = [_polished(edit) for edit in edits]
    if not any(edit.changes for edit in edits) and not any(asset.changes for asset in web.assets):
        click.echo(f"{served.target} is served by the application already; there is nothing to do")
        return
    for edit in edits:
        if edit.changes and edit.step in (CHANNELS, MOUNT):
            click.echo(edit.diff(Path.cwd()))
    _list(edits, web.assets)
    if wish.dry_run:
        click.echo("nothing was changed: this was a dry run")
        return
    if wish.confirm and not click.confirm("Make these changes?", default=True):
        fail("nothing was changed")
    apply([edit for edit in edits if edit.changes], web.assets)
    apply([edit for edit in _settled(edits) if edit.changes])
    click.echo(f"the {application.framework} application serves {served.target} at /realtime. Next:")
    for line in _steps_of_an_application(application, served, web):
        click.echo(f"  {line}")


def _found(wish: _Wish) -> Application:
    try:
        return find_application(wish.folder, wish.app)
    except PlaceUnknown as error:
        if error.candidates:
            raise
        fail(
            f"{error}, or add to your ASGI application by hand: app = realtime.asgi(app); "
            "for a new project: flowcraft init NAME"
        )


def _plan_web(react: Path | None, served: Served) -> WebPlan:
    if served.page is not None:
        return plan_page(served.page, types_of_an_application())
    if react is None or served.edit is None or served.edit.before is not None:
        return WebPlan()  # the channels are the project's own: so are the types that the page has of them
    return plan_web(react, types_of_an_application(), served.path)


def _polished(edit: Edit) -> Edit:
    if edit.before is not None:
        return polished_edit(edit)
    return Edit(edit.step, edit.path, None, polished(edit.path, edit.after))


def _settled(edits: Sequence[Edit]) -> list[Edit]:
    """What ruff would change now in files that it had formatted: it sorts imports by the modules it finds."""
    tidy = [e for e in edits if e.before is not None and polished(e.path, e.before) == e.before]
    return [Edit(e.step, e.path, e.after, polished(e.path, e.after)) for e in tidy]


def _steps_of_an_application(application: Application, served: Served, web: WebPlan) -> list[str]:
    folder = shown(served.root, Path.cwd())
    first = served.edit is not None and served.edit.before is None
    django = application.framework == "Django"
    serve = f"uvicorn {application.module}:{application.variable}   (or another ASGI server)"
    page = "open /live/index.html" if django else "open /live/"
    proxy = "npm install   (in the web folder; lead /realtime to the service in its development server)"
    telling = f"""flowcraft broadcast {served.target} system '{{"text": "hello"}}'"""
    return [
        *web.by_hand,
        *([proxy] if web.edits and served.page is None else []),
        *([] if folder == os.curdir else [f"cd {folder}"]),
        "export DATABASE_URL=postgresql://…",
        f"flowcraft migrate {served.target}",
        serve if django else "start the application again",
        *([page] if served.page is not None else []),
        *([telling] if first else []),
        "flowcraft channel add NAME --table TABLE --event CLASS   (a table's rows, as they are committed)",
    ]


def _list(edits: Sequence[Edit], assets: Sequence[Asset]) -> None:
    here = Path.cwd()
    rows = [(edit.step, _verb(edit), _as_listed(shown(edit.path, here))) for edit in edits]
    rows += [(a.step, "write" if a.changes else "keep", shown(a.path, here)) for a in assets]
    for step, verb, path in dict.fromkeys(sorted(rows, key=lambda row: row[0])):
        click.echo(f"{step:19} {verb:6} {path}")


def _verb(edit: Edit) -> str:
    return "keep" if not edit.changes else "write" if edit.before is None else "change"


def _as_listed(path: str) -> str:
    """A path; what is vendored is listed as a folder."""
    before, vendor, after = path.partition("/vendor/")
    return f"{before}{vendor}{after.partition('/')[0]}/" if vendor else path
