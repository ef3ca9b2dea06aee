"""Python project: its dependency on this package, and the expression that has its database's address."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flowcraft._version import __version__
from flowcraft.scaffolding.edits import Edit, ScaffoldingRefused, shown, text_of
from flowcraft.scaffolding.project_files import files_below
from flowcraft.scaffolding.remembered import with_remembered

STEP = "1 channels"
_NAME = "flowcraft-realtime"
_REQUIREMENT = f"{_NAME}>={__version__}"
_PROJECT = re.compile(r"^\[project\]\s*$(?P<body>.*?)(?=^\[|\Z)", re.MULTILINE | re.DOTALL)
_LIST = re.compile(r"^dependencies\s*=\s*\[(?P<rest>[ \t]*(?:#[^\n]*)?\n[ \t]*|[ \t]*)", re.MULTILINE)
_TABLE = r"^\[{}\][ \t]*(?:#[^\n]*)?$(?P<body>.*?)(?=^\[|\Z)"
_POETRY = re.compile(_TABLE.format(r"tool\.poetry\.dependencies"), re.MULTILINE | re.DOTALL)
_PIPENV = re.compile(_TABLE.format("packages"), re.MULTILINE | re.DOTALL)
_LOCKS = {"uv.lock": "uv lock", "poetry.lock": "poetry lock", "Pipfile.lock": "pipenv lock"}
_ENGINES = ("create_engine", "create_async_engine")


@dataclass(frozen=True, slots=True)
class AddressExpression:
    """An expression that has the address of the database, and the imports that it needs."""

    text: str
    imports: tuple[tuple[str, str], ...]


def nearest(start: Path, here: Path, name: str) -> Path | None:
    """Return a file of that name in a folder or above it, up to another folder."""
    for folder in (start, *start.parents):
        if (folder / name).is_file():
            return folder / name
        if folder == here:
            return None
    return None


def plan_project(root: Path, here: Path, places: Mapping[str, Path | str]) -> list[Edit]:
    """Plan the line that requires this package, and the places that later commands need.

    `places` are the values of `[tool.flowcraft]`: texts, and folders, named from that of the pyproject.toml.
    """
    project = nearest(root, here, "pyproject.toml")
    if project is None and (pipfile := nearest(root, here, "Pipfile")) is not None:
        before = text_of(pipfile) or ""
        return [Edit(STEP, pipfile, before, _with_entry(before, _PIPENV))]
    if project is None:
        listed = nearest(root, here, "requirements.txt")
        before = (text_of(listed) or "") if listed is not None else ""
        if listed is None or _NAME in before:
            return []
        return [Edit(STEP, listed, before, f"{before.rstrip()}\n{_REQUIREMENT}\n".lstrip())]
    before = text_of(project) or ""
    named = {name: _named(place, project.parent) for name, place in places.items()}
    values = {name: value for name, value in named.items() if (name, value) != ("path", ".")}
    return [Edit(STEP, project, before, with_remembered(_with_dependency(before), values))]


def _named(place: Path | str, folder: Path) -> str:
    return place if isinstance(place, str) else shown(place, folder).replace("\\", "/")


def _with_dependency(text: str) -> str:
    """Return a pyproject.toml with the requirement, where it lists its dependencies."""
    body = None if _NAME in text else _PROJECT.search(text)
    found = None if body is None else _LIST.search(text, body.start("body"), body.end("body"))
    if found is None:
        return _with_entry(text, _POETRY)
    gap, following = found["rest"], text[found.end() :]
    comma = "" if following.startswith("]") else f",{gap if chr(10) in gap else ' '}"
    return f'{text[: found.end()]}"{_REQUIREMENT}"{comma}{following}'


def _with_entry(text: str, table: re.Pattern[str]) -> str:
    """Return a file with the requirement as the last entry of a table; unchanged without the table."""
    found = None if _NAME in text else table.search(text)
    if found is None:
        return text
    at = found.start("body") + len(found["body"].rstrip())
    return f'{text[:at]}\n{_NAME} = ">={__version__}"{text[at:]}'


def locking(root: Path, here: Path) -> str | None:
    """Return the command that locks a new dependency; None in a project that locks none."""
    for name, command in _LOCKS.items():
        if nearest(root, here, name) is not None:
            return command
    return None


def address_expression(here: Path, root: Path, application: Path) -> AddressExpression | None:
    """Return the expression from which the project's only SQLAlchemy engine has its address.

    Not one of the application's own module, which imports the module of the channels.
    """
    found: dict[str, AddressExpression] = {}
    for path in files_below(here, ".py"):
        if path == application or not path.is_relative_to(root) or {"tests", "test"} & set(path.parts):
            continue
        if (expression := _in_module(path, root)) is not None:
            found[expression.text] = expression
    return next(iter(found.values())) if len(found) == 1 else None


def _in_module(path: Path, root: Path) -> AddressExpression | None:
    try:
        text = text_of(path) or ""
        has_engine = any(f"{name}(" in text for name in _ENGINES) and "sqlite" not in text
    except ScaffoldingRefused:
        return None
    try:
        tree = ast.parse(text if has_engine else "")
    except SyntaxError:
        return None
    imported = {
        alias.name: (node.module, alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
        for alias in node.names
        if alias.asname is None
    }
    own = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in tree.body:
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if isinstance(value, ast.Call) and value.args and _called(value) in _ENGINES:
            return _expression(value.args[0], imported, own, path, root)
    return None


def _called(call: ast.Call) -> str:
    function = call.func
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _expression(
    value: ast.expr, imported: dict[str, tuple[str, str]], own: set[str], path: Path, root: Path
) -> AddressExpression | None:
    names = {node.id for node in ast.walk(value) if isinstance(node, ast.Name)} - {"str"}
    if not names:
        return None
    if names <= imported.keys():
        return AddressExpression(_as_text(value), tuple(sorted(imported[name] for name in names)))
    if isinstance(value, ast.Name) and value.id in own:
        parts = path.relative_to(root).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        return AddressExpression(f"str({value.id})", ((module, value.id),))
    return None


def _as_text(value: ast.expr) -> str:
    """Return the source of an expression, as text: settings hold addresses as values of Pydantic."""
    source = ast.unparse(value)
    return source if source.startswith("str(") else f"str({source})"
