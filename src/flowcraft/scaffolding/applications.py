"""Applications: find the object that a framework serves, in a project's code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from flowcraft.scaffolding.discovery import import_root
from flowcraft.scaffolding.django_settings import NAMED
from flowcraft.scaffolding.edits import Edit, PlaceUnknown, ScaffoldingRefused, shown, text_of
from flowcraft.scaffolding.project_files import files_below
from flowcraft.scaffolding.template_files import template

Framework: TypeAlias = Literal["FastAPI", "Starlette", "Litestar", "Django"]

_MAKERS: dict[tuple[str, str], Framework] = {
    ("fastapi", "FastAPI"): "FastAPI",
    ("starlette.applications", "Starlette"): "Starlette",
    ("litestar", "Litestar"): "Litestar",
    ("django.core.asgi", "get_asgi_application"): "Django",
}
ASGI = "1 asgi.py"
_OTHER_PLACES = {"tests", "test", "examples", "docs"}


@dataclass(frozen=True, slots=True)
class Application:
    """The assignment that creates an application, such as `app = FastAPI()`, in a module or a function."""

    framework: Framework
    path: Path
    root: Path
    variable: str
    statement: ast.Assign | ast.AnnAssign
    value: ast.Call

    @property
    def module(self) -> str:
        """The import name of its module."""
        parts = self.path.relative_to(self.root).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def indent(self) -> str:
        """The indentation of the assignment."""
        return " " * self.statement.col_offset


def find_application(here: Path, hint: str | None) -> Application:
    """Return the application of the project in a folder; `hint` is the file, or `file:variable`.

    Raises:
        PlaceUnknown: no application was found, or several were.
    """
    place, _, variable = (hint or "").partition(":")
    if place and not (here / place).is_file():
        raise PlaceUnknown("--app", f"the file {place} of the application (FILE.py, or FILE.py:NAME)")
    paths = [here / place] if place else _candidates(here)
    found = [one for path in paths for one in applications_of(path) if variable in ("", one.variable)]
    if len(found) != 1:
        names = [f"{shown(one.path, here)}:{one.variable}" for one in found]
        raise PlaceUnknown("--app", "the FastAPI, Starlette, Litestar or Django application", names)
    return replace(found[0], root=_root_as_named(here, found[0]))


def has_sessions(application: Application) -> bool:
    """Return whether an application knows its users by the cookie of a session."""
    text = text_of(application.path) or ""
    return application.framework == "Django" or "SessionMiddleware" in text or "session_config" in text


def missing_asgi(here: Path) -> Edit | None:
    """Return the `asgi.py` that a Django project lacks, as `startproject` writes one; None elsewhere."""
    found = {
        match[1]: path
        for path in files_below(here, ".py")
        if path.name in ("manage.py", "wsgi.py") and (match := NAMED.search(_readable(path) or ""))
    }
    if len(found) != 1:
        return None
    ((settings, path),) = found.items()
    package = settings.split(".")[0]
    folder = path.parent if path.name == "wsgi.py" else path.parent / package
    asgi = folder / "asgi.py"
    if not folder.is_dir() or asgi.exists():
        return None
    return Edit(ASGI, asgi, None, template("added/asgi.py", settings=settings))


def applications_of(path: Path) -> list[Application]:
    """Return the applications that a module creates."""
    try:
        tree = ast.parse(text_of(path) or "")
    except (SyntaxError, ScaffoldingRefused):
        return []  # a file with errors cannot be served either
    makers = dict(_makers(tree))
    return [
        Application(framework, path, import_root(path), target, statement, value)
        for statement in _assignments(tree.body)
        if (value := _call(statement.value)) is not None
        if (framework := makers.get(ast.unparse(value.func))) is not None
        if (target := _target(statement)) is not None
    ]


def _root_as_named(here: Path, application: Application) -> Path:
    """Return the import root that other files imply: `from app.main import app`, `uvicorn app.main:app`."""
    path = application.path
    if application.root not in (path.parent, here) or path.parent == here:
        return application.root
    texts = [text for file in _files_that_name(here) if (text := _readable(file)) is not None]
    for root in (folder for folder in path.parents if folder.is_relative_to(here)):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        signs = (f"from {name} import", f"{name}:")
        if any(re.search(rf"(?<![\w.]){re.escape(sign)}", text) for sign in signs for text in texts):
            return root
    return application.root


def _files_that_name(here: Path) -> list[Path]:
    endings = (".py", ".md", ".toml", ".yml", ".yaml", ".sh", "Dockerfile", "Makefile", "Procfile")
    return [file for ending in endings for file in files_below(here, ending)]


def _readable(file: Path) -> str | None:
    try:
        return text_of(file)
    except ScaffoldingRefused:
        return None


def _candidates(here: Path) -> list[Path]:
    return [p for p in files_below(here, ".py") if not _OTHER_PLACES & set(p.relative_to(here).parts)]


def _makers(tree: ast.Module) -> Iterator[tuple[str, Framework]]:
    """Yield the constructors of applications under their names in this module, with their frameworks."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (framework := _MAKERS.get((node.module or "", alias.name))) is not None:
                    yield alias.asname or alias.name, framework
        elif isinstance(node, ast.Import):
            for alias in node.names:
                for (module, name), framework in _MAKERS.items():
                    if alias.name == module:
                        yield f"{alias.asname or module}.{name}", framework


def _assignments(body: Iterable[ast.stmt]) -> Iterator[ast.Assign | ast.AnnAssign]:
    """Yield the assignments of a module and of its functions."""
    for node in body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            yield node
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _assignments(node.body)


def _call(value: ast.expr | None) -> ast.Call | None:
    """Return a call, or the call inside `realtime.asgi(…)`, so that a second run finds the same object."""
    if not isinstance(value, ast.Call):
        return None
    wraps = isinstance(value.func, ast.Attribute) and value.func.attr == "asgi" and len(value.args) == 1
    return _call(value.args[0]) if wraps else value


def _target(statement: ast.Assign | ast.AnnAssign) -> str | None:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return targets[0].id if len(targets) == 1 and isinstance(targets[0], ast.Name) else None
