"""Page origins: which pages of other origins an application lets in, as its CORS middleware has them."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass

from flowcraft.scaffolding.applications import Application
from flowcraft.scaffolding.edits import text_of
from flowcraft.scaffolding.python_text import parsed

_HOLDERS = ("CORSMiddleware", "CORSConfig")


@dataclass(frozen=True, slots=True)
class PageOrigins:
    """The expression with the origins, and its imports; without one the user has to name them."""

    text: str | None = None
    imports: tuple[tuple[str, str], ...] = ()


def page_origins(application: Application) -> PageOrigins | None:
    """Return the origins of an application's CORS middleware; None without such a middleware.

    An expression with names of the application's own module cannot be used: that imports the channels.
    """
    tree = parsed(text_of(application.path) or "", application.path)
    found = list(_expressions(tree))
    if not found:
        return None
    if len(found) > 1 or any(isinstance(n, ast.Constant) and n.value == "*" for n in ast.walk(found[0])):
        return PageOrigins()
    imported = {
        alias.name: (node.module, alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
        for alias in node.names
        if alias.asname is None
    }
    names = _free_names(found[0])
    if not names <= imported.keys():
        return PageOrigins()
    return PageOrigins(_as_tuple(found[0]), tuple(sorted(imported[name] for name in names)))


def _expressions(tree: ast.Module) -> Iterator[ast.expr]:
    """Yield the values of `allow_origins` in `add_middleware(CORSMiddleware, …)` and `CORSConfig(…)`."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        names = {_name(part) for part in (node.func, *node.args)}
        if names & {*_HOLDERS}:
            yield from (k.value for k in node.keywords if k.arg == "allow_origins")


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")


def _free_names(expression: ast.expr) -> set[str]:
    names = [node for node in ast.walk(expression) if isinstance(node, ast.Name)]
    bound = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    return {node.id for node in names} - bound - set(vars(builtins))


def _as_tuple(expression: ast.expr) -> str:
    if not isinstance(expression, ast.List | ast.Tuple):
        return f"tuple({ast.unparse(expression)})"
    items = [ast.unparse(item).replace("'", '"') for item in expression.elts]
    return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"
