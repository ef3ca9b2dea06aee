"""Python text: insert imports, classes, declarations and methods into a module, at positions from `ast`."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from flowcraft.scaffolding.edits import ScaffoldingRefused
from flowcraft.scaffolding.request import Field

_WIDTH = 88


def parsed(text: str, path: Path) -> ast.Module:
    """Return the tree of a module.

    Raises:
        ScaffoldingRefused: the text is not valid Python.
    """
    try:
        return ast.parse(text)
    except SyntaxError as error:
        raise ScaffoldingRefused(
            f"{path}:{error.lineno} is not valid Python: {error.msg}; fix this first"
        ) from None


def with_import(text: str, module: str, *names: str) -> str:
    """Import names from a module, in its existing import statement if there is one.

    Raises:
        ScaffoldingRefused: a name is already bound to something else.
    """
    tree = ast.parse(text)
    own = {alias.asname or alias.name for node in _imports_from(tree, module) for alias in node.names}
    wanted = [name for name in names if name not in own]
    for name in wanted:
        if name in bound_names(tree):
            raise ScaffoldingRefused(
                f"{name} is already bound to something else than {module}.{name}; rename one"
            )
    if not wanted:
        return text
    lines = text.splitlines(keepends=True)
    for node in _imports_from(tree, module):
        if not any("#" in line for line in lines[node.lineno - 1 : node.end_lineno]):
            spread = node.end_lineno != node.lineno
            found = [f"{a.name} as {a.asname}" if a.asname else a.name for a in node.names]
            statement = _import_statement(module, [*found, *wanted], spread=spread)
            lines[node.lineno - 1 : node.end_lineno] = [statement]
            return "".join(lines)
    return _with_new_import(tree, lines, module, _import_statement(module, wanted))


def with_class(text: str, definition: str, before: str | None = None) -> str:
    """Add a class at the end of a module, or before the assignment of the name `before`."""
    lines = text.splitlines(keepends=True)
    starts = [node.lineno - 1 for node in ast.parse(text).body if before in _targets(node)]
    if before is None or not starts:
        return f"{text.rstrip()}\n\n\n{definition.strip()}\n"
    at = starts[0]
    while at and lines[at - 1].startswith("#"):
        at -= 1
    return f"{''.join(lines[:at]).rstrip()}\n\n\n{definition.strip()}\n\n\n{''.join(lines[at:])}"


def with_declaration(text: str, declare: str, statement: str) -> str:
    """Add a declaration after the last one on the object named `declare`."""
    tree = ast.parse(text)
    ends = [
        node.end_lineno or node.lineno
        for node in tree.body
        if declared_call(node, declare) is not None or declare in _targets(node)
    ]
    lines = text.splitlines(keepends=True)
    lines.insert(max(ends), f"\n{statement.strip()}\n")
    return "".join(lines)


def with_method(text: str, class_name: str, method: str) -> str:
    """Add a method at the end of a class."""
    end = class_of(ast.parse(text), class_name).end_lineno
    lines = text.splitlines(keepends=True)
    lines.insert(end or len(lines), f"\n{method.rstrip()}\n")
    return "".join(lines)


def class_of(tree: ast.Module, name: str) -> ast.ClassDef:
    """Return a class that the module is known to have."""
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)


def fields_of(tree: ast.Module, name: str) -> tuple[Field, ...] | None:
    """Return the annotated fields of a class, or None if the module has no such class."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return tuple(
                Field(inner.target.id, ast.unparse(inner.annotation))
                for inner in node.body
                if isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name)
            )
    return None


def declared_call(node: ast.stmt, declare: str) -> ast.Call | None:
    """Return the call of a statement such as `x = channels.declare(…)`."""
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign | ast.Expr) else None
    if not isinstance(value, ast.Call) or not isinstance(value.func, ast.Attribute):
        return None
    owner = value.func.value
    is_it = value.func.attr in {"declare", "rows"} and isinstance(owner, ast.Name) and owner.id == declare
    return value if is_it else None


def declaration_of(tree: ast.Module, declare: str, channel: str) -> ast.stmt | None:
    """Return the statement that declares a channel."""
    for node in tree.body:
        call = declared_call(node, declare)
        name = call.args[0] if call is not None and call.args else None
        if isinstance(name, ast.Constant) and name.value == channel:
            return node
    return None


def bound_names(tree: ast.Module) -> set[str]:
    """Return the names that a module binds at its top level."""
    return {name for node in tree.body for name in _bound_by(node)}


def realtime_attribute(tree: ast.Module, class_name: str) -> str | None:
    """Return the attribute that holds the `RealtimeService` of the constructor, or None."""
    for node in class_of(tree, class_name).body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            parameters = {a.arg for a in _parameters(node) if _names(a.annotation) == "RealtimeService"}
            for inner in ast.walk(node):
                if isinstance(inner, ast.Assign) and isinstance(inner.value, ast.Name):
                    target = inner.targets[0]
                    if inner.value.id in parameters and isinstance(target, ast.Attribute):
                        return target.attr
    return None


def other_parameters(tree: ast.Module, class_name: str) -> list[tuple[str, bool]]:
    """Return the constructor's parameters: each name, and whether its type is `RealtimeService`."""
    for node in class_of(tree, class_name).body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            return [
                (a.arg, _names(a.annotation) == "RealtimeService")
                for a in _parameters(node)
                if a.arg != "self"
            ]
    return []


def imported_names(annotation: str) -> set[str]:
    """Return the names that a type uses."""
    return {node.id for node in ast.walk(ast.parse(annotation, mode="eval")) if isinstance(node, ast.Name)}


def _parameters(node: ast.FunctionDef) -> list[ast.arg]:
    return [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]


def _names(annotation: ast.expr | None) -> str | None:
    match annotation:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Constant(value=str(name)):
            return name
        case _:
            return None


def _bound_by(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in names)
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name
        case _:
            yield from _targets(node)


def _targets(node: ast.stmt) -> list[str]:
    targets: Iterable[ast.expr] = ()
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign):
        targets = [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _imports_from(tree: ast.Module, module: str) -> list[ast.ImportFrom]:
    return [
        node
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module == module and not node.level
    ]


def _sort_key(name: str) -> tuple[int, str]:
    plain = name.partition(" ")[0]
    return (0 if plain.isupper() and len(plain) > 1 else 1 if plain[0].isupper() else 2, plain)


def _import_statement(module: str, names: Iterable[str], *, spread: bool = False) -> str:
    ordered = sorted(set(names), key=_sort_key)
    line = f"from {module} import {', '.join(ordered)}\n"
    if not spread and len(line) <= _WIDTH:
        return line
    return f"from {module} import (\n{''.join(f'    {name},' + chr(10) for name in ordered)})\n"


def _with_new_import(tree: ast.Module, lines: list[str], module: str, statement: str) -> str:
    section = _section(module)
    found = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    imports = [(node, _section(_module_of(node))) for node in found]
    same = [node for node, other in imports if other == section]
    earlier = [node for node in same if _place(node) < (1, module)]
    if same:
        at, text = ((earlier[-1].end_lineno or 0), statement) if earlier else (same[0].lineno - 1, statement)
    elif before := [node for node, other in imports if other < section]:
        at, text = before[-1].end_lineno or 0, f"\n{statement}"
    elif imports:
        at, text = imports[0][0].lineno - 1, f"{statement}\n"
    else:
        at, text = _after_docstring(tree), f"\n{statement}"
    lines.insert(at, text)
    return "".join(lines)


def _place(node: ast.Import | ast.ImportFrom) -> tuple[int, str]:
    return (1 if isinstance(node, ast.ImportFrom) else 0, _module_of(node))


def _module_of(node: ast.Import | ast.ImportFrom) -> str:
    return (node.module or ".") if isinstance(node, ast.ImportFrom) else node.names[0].name


def _section(module: str) -> int:
    top = module.partition(".")[0]
    return 0 if top == "__future__" else 1 if top in sys.stdlib_module_names else 2


def _after_docstring(tree: ast.Module) -> int:
    first = tree.body[0] if tree.body else None
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return (first.end_lineno or 0) if documented and first is not None else 0
