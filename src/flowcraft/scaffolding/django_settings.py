"""Django settings: install the application whose `manage.py` commands migrate the log and the triggers."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from flowcraft.scaffolding.edits import Edit, text_of
from flowcraft.scaffolding.project_files import files_below
from flowcraft.scaffolding.python_text import parsed

SETTINGS = "2 application"
APP = "flowcraft.adapters.django"
NAMED = re.compile(r"""["']DJANGO_SETTINGS_MODULE["'],\s*["']([\w.]+)["']""")


@dataclass(frozen=True, slots=True)
class SettingsPlan:
    """The edit of the settings, the lines for other settings, and the app that gets the migrations."""

    edits: tuple[Edit, ...] = ()
    by_hand: tuple[str, ...] = ()
    app: str | None = None

    @property
    def migrates(self) -> bool:
        """Whether `manage.py` migrates the log."""
        return not self.by_hand and self.app is not None


def plan_settings(here: Path, asgi: Path, asgi_text: str, root: Path, realtime: str) -> SettingsPlan:
    """Plan the application and the channels in the settings that an `asgi.py` names."""
    app = _own_app(here)
    setting = f'FLOWCRAFT_CHANNELS = "{realtime}"'
    lines = (f'in the settings of {asgi.parent.name}: add "{APP}" to INSTALLED_APPS, and {setting}',)
    named = NAMED.search(asgi_text)
    path = _with_apps(root, named[1]) if named is not None else None
    if path is None:
        return SettingsPlan((), lines, app)
    before = text_of(path) or ""
    if APP in before:
        return SettingsPlan((), (), app)
    after = _with_app(before, path)
    if after is None:
        return SettingsPlan((), lines, app)
    return SettingsPlan(
        (Edit(SETTINGS, path, before, f'{after.rstrip()}\n\nFLOWCRAFT_CHANNELS = "{realtime}"\n'),), (), app
    )


def _with_apps(root: Path, module: str) -> Path | None:
    """Return the file of the settings that has INSTALLED_APPS: the module, or one whose names it takes."""
    base = root.joinpath(*module.split("."))
    found = next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)
    if found is None:
        return None
    tree = parsed(text_of(found) or "", found)
    if _apps(tree) is not None:
        return found
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and node.names[0].name == "*":
            place = found.parents[node.level - 1] if node.level else root
            if (place, node.module) != (root, module):
                return _with_apps(place, node.module)
    return None


def _apps(tree: ast.Module) -> ast.List | ast.Tuple | None:
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if isinstance(target, ast.Name) and target.id == "INSTALLED_APPS":
            return value if isinstance(value, ast.List | ast.Tuple) and value.elts else None
    return None


def _with_app(text: str, path: Path) -> str | None:
    """Return the settings with the application as the last of INSTALLED_APPS; None if that is not a list."""
    apps = _apps(parsed(text, path))
    if apps is None:
        return None
    last = apps.elts[-1]
    lines = text.splitlines(keepends=True)
    at = (last.end_lineno or 0) - 1
    line = lines[at].encode()
    head, tail = line[: last.end_col_offset].decode(), line[last.end_col_offset or 0 :].decode()
    if apps.end_lineno == last.end_lineno:
        lines[at] = f'{head}, "{APP}"{tail}'
    else:
        after = tail.removeprefix(",")
        indent = " " * last.col_offset
        lines[at] = f'{head},{after.rstrip(chr(10))}\n{indent}"{APP}",\n'
    return "".join(lines)


def _own_app(here: Path) -> str | None:
    """Return the name of the project's app with models, the first of several; None without one."""
    for path in files_below(here, ".py"):
        if path.name in {"apps.py", "models.py"} or path.parent.name == "migrations":
            folder = path.parent.parent if path.parent.name == "migrations" else path.parent
            return _label(folder)
    return None


def _label(folder: Path) -> str:
    text = text_of(folder / "apps.py") or ""
    given = re.search(r"""^\s+label\s*=\s*["'](\w+)["']""", text, re.MULTILINE)
    return given[1] if given else folder.name
