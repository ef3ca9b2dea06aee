"""Python sources: find the places that declare and broadcast channels, from the syntax tree.

Nothing is imported here. A name is resolved through the imports and assignments of its file to an object of a
module that importing the channels has loaded; a name that cannot be resolved is reported as unknown.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TypeAlias, cast

from flowcraft.channels import Channels
from flowcraft.checking.facts import Broadcast, Problem, PythonFacts, SourceLocation
from flowcraft.declarations import Declaration
from flowcraft.declared_channels import Channel, ChannelFamily

_SKIPPED = frozenset({"node_modules", "build", "dist", "__pycache__", "site-packages", "tests", "test"})
_DEPTH = 6
_Scope: TypeAlias = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda


@dataclass(slots=True)
class Source:
    """A file, its tree, and what the names in it refer to."""

    path: Path
    module: str
    tree: ast.Module
    imports: dict[str, str] = field(default_factory=dict[str, str])
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict[ast.AST, ast.AST])
    assigned: dict[tuple[ast.AST, str], ast.expr] = field(default_factory=dict[tuple[ast.AST, str], ast.expr])

    def place(self, node: ast.expr | ast.stmt) -> SourceLocation:
        return SourceLocation(_from_here(self.path), node.lineno, node.col_offset + 1)


def read_python(folder: Path, channels: Channels) -> PythonFacts:
    """Return the facts of the sources below a folder, without tests, whose broadcasts do not count."""
    sources, broken = _parsed(folder)
    calls = [(source, call) for source in sources for call in _calls(source, "broadcast")]
    return PythonFacts(
        declared=dict(_declared(sources, channels)),
        broadcasts=tuple(_broadcast(source, call, channels) for source, call in calls),
        unknown=tuple(problem for source, call in calls for problem in _unknown(source, call)),
        broken=tuple(broken),
    )


def _parsed(folder: Path) -> tuple[list[Source], list[Problem]]:
    sources: list[Source] = []
    broken: list[Problem] = []
    for path in _python_files(folder):
        text = path.read_bytes()
        if not any(word in text for word in (b"broadcast", b".declare(", b".rows(")):
            continue
        try:
            sources.append(_read(path, ast.parse(text, path), folder))
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None) or 1
            broken.append(Problem(SourceLocation(_from_here(path), line), str(getattr(error, "msg", error))))
    return sources, broken


def _python_files(folder: Path) -> Iterator[Path]:
    for at, names, contents in os.walk(folder):
        names[:] = sorted(name for name in names if name not in _SKIPPED and not name.startswith("."))
        for name in sorted(contents):
            if name.endswith(".py") and not name.startswith("test_") and name != "conftest.py":
                yield Path(at) / name


def _read(path: Path, tree: ast.Module, folder: Path) -> Source:
    source = Source(path, _module_name(path, folder), tree)
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            source.parents[child] = node
    for node in ast.walk(tree):
        _remember(source, node)
    return source


def _remember(source: Source, node: ast.AST) -> None:
    if isinstance(node, ast.Import):
        for alias in node.names:
            source.imports[alias.asname or alias.name.partition(".")[0]] = (
                alias.name if alias.asname else alias.name.partition(".")[0]
            )
    elif isinstance(node, ast.ImportFrom):
        base = _base(source, node)
        for alias in node.names:
            source.imports[alias.asname or alias.name] = f"{base}.{alias.name}"
    elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
        for name in _targets(node):
            owner = _class_of(source, node) if name.startswith("self.") else _scope(source, node)
            source.assigned[owner, name] = node.value


def _module_name(path: Path, folder: Path) -> str:
    parts = list(path.relative_to(folder).with_suffix("").parts)
    if parts[0] == "src":
        del parts[0]
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _base(source: Source, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    is_package = source.path.name == "__init__.py"
    parts = source.module.split(".")
    kept = parts[: len(parts) - node.level + is_package]
    return ".".join([*kept, *([node.module] if node.module else [])])


def _targets(node: ast.AST) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [cast(ast.AnnAssign, node).target]
    return [ast.unparse(target) for target in targets if isinstance(target, ast.Name | ast.Attribute)]


def _scope(source: Source, node: ast.AST) -> ast.AST:
    at = source.parents.get(node)
    while at is not None and not isinstance(at, _Scope):
        at = source.parents.get(at)
    return at or source.tree


def _class_of(source: Source, node: ast.AST) -> ast.AST:
    at = _scope(source, node)
    while not isinstance(at, ast.ClassDef | ast.Module):
        at = _scope(source, at)
    return at


# Declarations


def _declared(sources: list[Source], channels: Channels) -> Iterator[tuple[str, SourceLocation]]:
    names = {declaration.name for declaration in channels}
    for source in sources:
        for call in [*_calls(source, "declare"), *_calls(source, "rows")]:
            name = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
            if isinstance(name, str) and name in names and source.module in sys.modules:
                yield name, source.place(call)


def _calls(source: Source, method: str) -> Iterator[ast.Call]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method:
            yield node


# Broadcasts


def _broadcast(source: Source, call: ast.Call, channels: Channels) -> Broadcast:
    declaration = _declaration(source, _argument(call, 0, "channel"), channels)
    event = _argument(call, 1, "event")
    made = _object(source, event.func) if isinstance(event, ast.Call) else None
    return Broadcast(
        place=source.place(call),
        channel=None if declaration is None else declaration.name,
        event=made if isinstance(made, type) else None,
        awaited=not isinstance(source.parents.get(call), ast.Expr),
    )


def _argument(call: ast.Call, position: int, name: str) -> ast.expr | None:
    if len(call.args) > position:
        return call.args[position]
    return next((keyword.value for keyword in call.keywords if keyword.arg == name), None)


def _declaration(source: Source, node: ast.expr | None, channels: Channels) -> Declaration | None:
    found = None if node is None else _object(source, _called(node))
    if isinstance(found, Channel | ChannelFamily):
        declared = cast("Channel[object]", found).declaration
        return declared if any(declared is one for one in channels) else None
    value = None if node is None else _assigned(source, _called(node))
    return None if value is None else _declaration(source, value, channels)


def _called(node: ast.expr) -> ast.expr:
    return node.func if isinstance(node, ast.Call) else node


def _assigned(source: Source, node: ast.expr, depth: int = _DEPTH) -> ast.expr | None:
    """Return the expression assigned to a variable or an attribute of `self`, if this file assigns it."""
    name = ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""
    scope = _class_of(source, node) if name.startswith("self.") else _scope(source, node)
    while depth and name:
        value = source.assigned.get((scope, name))
        if value is not None and ast.unparse(value) != name:
            return value
        if isinstance(scope, ast.Module):
            return None
        scope, depth = _scope(source, scope), depth - 1
    return None


def _unknown(source: Source, call: ast.Call) -> Iterator[Problem]:
    node = _argument(call, 0, "channel")
    called = None if node is None else _called(node)
    if not isinstance(called, ast.Attribute):
        return
    owner = _object(source, called.value)
    if isinstance(owner, ModuleType) and not hasattr(owner, called.attr):
        names = [name for name, value in vars(owner).items() if isinstance(value, Channel | ChannelFamily)]
        if names:
            text = f"{owner.__name__} has no channel {called.attr}; it has {', '.join(names)}"
            yield Problem(source.place(call), text)


# Objects of loaded modules


def _object(source: Source, node: ast.expr) -> object:
    """Return the object of a dotted name, or None if it is not a dotted name or its module is not loaded."""
    dotted = _dotted(node, source)
    if dotted is None:
        return None
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        module = sys.modules.get(".".join(parts[:length]))
        if module is not None:
            return _attribute(module, parts[length:])
    return None


def _attribute(owner: object, names: list[str]) -> object:
    for name in names:
        owner = getattr(owner, name, None)
    return owner


def _dotted(node: ast.expr, source: Source) -> str | None:
    if isinstance(node, ast.Name):
        if (_scope(source, node), node.id) in source.assigned and node.id not in source.imports:
            return f"{source.module}.{node.id}" if _scope(source, node) is source.tree else None
        return source.imports.get(node.id, f"{source.module}.{node.id}")
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value, source)
        return None if owner is None else f"{owner}.{node.attr}"
    return None


def _from_here(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
