"""Mounting: add realtime to an existing application, with lines that leave its own object unchanged."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flowcraft.scaffolding.applications import Application, Framework
from flowcraft.scaffolding.discovery import import_root, objects_made
from flowcraft.scaffolding.edits import Edit, ScaffoldingRefused, shown, text_of
from flowcraft.scaffolding.project_files import files_below
from flowcraft.scaffolding.python_text import bound_names, parsed, with_import
from flowcraft.scaffolding.template_files import template

CHANNELS = "1 channels"
MOUNT = "2 application"
_NAMES = ("realtime.py", "live_channels.py")
_PAGES: Mapping[Framework, tuple[str, str, str]] = {
    "FastAPI": (
        "fastapi.staticfiles",
        "StaticFiles",
        'mount("/live", StaticFiles(directory=PAGE, html=True))',
    ),
    "Starlette": (
        "starlette.staticfiles",
        "StaticFiles",
        'mount("/live", StaticFiles(directory=PAGE, html=True))',
    ),
    "Litestar": (
        "litestar.static_files",
        "create_static_files_router",
        'register(create_static_files_router("/live", directories=[PAGE], html_mode=True))',
    ),
}
"""The import and the call with which a framework serves static files. In Django, `urls.py` serves them."""
_DJANGO_PAGE = 'urlpatterns += [path("live/<path:path>", serve, {"document_root": PAGE})]'


@dataclass(frozen=True, slots=True)
class Served:
    """The `Realtime` object of a project: its place, and the edit that creates it if it does not exist."""

    path: Path
    root: Path
    variable: str
    edit: Edit | None = None
    page: Path | None = None
    """The folder of the planned first page."""
    has_address: bool = False
    """Whether the planned object has the address of the database."""

    @property
    def module(self) -> str:
        """The import name of its module."""
        parts = self.path.relative_to(self.root).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def target(self) -> str:
        """The object as MODULE:ATTRIBUTE."""
        return f"{self.module}:{self.variable}"


def plan_realtime(here: Path, application: Application, *, page: bool) -> Served:
    """Find the project's `Realtime` object, or plan one: for its channels, or with a first channel.

    With `page`, a first channel comes with the folder of a first page; `plan_page` plans its contents.

    Raises:
        ScaffoldingRefused: several objects exist, or both names for the new module are taken.
    """
    known = objects_made(here, "Realtime")
    if len(known) > 1:
        raise ScaffoldingRefused(
            f"found several Realtime objects: {_places(known, here)}; choose one, and add by hand:\n"
            f"{by_hand(application, 'realtime')}"
        )
    if known:
        path, variable = known[0]
        return Served(path, _root_of(path, application), variable)
    channels = objects_made(here, "Channels")
    if len(channels) > 1:
        raise ScaffoldingRefused(
            f"found several Channels objects: {_places(channels, here)}; create Realtime(channels) for the "
            "one to serve, and run the command again"
        )
    return _of_channels(application, *channels[0]) if channels else _new_module(application, page=page)


def plan_mount(here: Path, application: Application, served: Served) -> list[Edit]:
    """Plan the lines that serve realtime beside the application; none if a module serves it already.

    Raises:
        ScaffoldingRefused: the module uses a name that the lines need for something else.
    """
    if any(_mounts(path, served.variable) for path in files_below(here, ".py")):
        return []
    before = text_of(application.path) or ""
    try:
        after = _with_lines(before, application, served)
        for module, *names in () if application.framework == "Django" else _imports(application, served):
            after = with_import(after, module, *names)
        return [Edit(MOUNT, application.path, before, after), *_page_of_django(application, served)]
    except ScaffoldingRefused as error:
        lines = by_hand(application, served.variable)
        raise ScaffoldingRefused(f"{application.path}: {error}, or add by hand:\n{lines}") from None


def by_hand(application: Application, realtime: str) -> str:
    """Return the lines to add by hand if the application cannot be edited."""
    if application.framework == "Django":
        return f"{application.variable} = {realtime}.asgi({ast.unparse(application.value)})"
    return "\n".join(_lines(application, realtime))


def _imports(application: Application, served: Served) -> list[tuple[str, ...]]:
    """Return the imports of the lines, by module."""
    paged = served.page is not None and application.framework != "Django"
    names = ("PAGE", served.variable) if paged else (served.variable,)
    litestar = [("litestar", "asgi")] if application.framework == "Litestar" else []
    page = [_PAGES[application.framework][:2]] if paged else []
    return [(served.module, *names), *litestar, *page]


def _root_of(path: Path, application: Application) -> Path:
    return application.root if path.is_relative_to(application.root) else import_root(path)


def _of_channels(application: Application, path: Path, channels: str) -> Served:
    before = text_of(path) or ""
    after = with_import(before, "flowcraft", "Realtime").rstrip() + f"\n\nrealtime = Realtime({channels})\n"
    return Served(path, _root_of(path, application), "realtime", Edit(CHANNELS, path, before, after))


def _new_module(application: Application, *, page: bool) -> Served:
    folder = application.path.with_name("live")
    paged = page and not folder.exists() and (application.framework != "Django" or _has_urls(application))
    text = template(
        "added/realtime.py",
        imports="from pathlib import Path\n\n" if paged else "",
        page='\nPAGE = Path(__file__).with_name("live")\n' if paged else "",
    )
    for name in _NAMES:
        path = application.path.with_name(name)
        if not path.exists():
            edit = Edit(CHANNELS, path, None, text)
            return Served(path, application.root, "realtime", edit, folder if paged else None)
    raise ScaffoldingRefused(
        f"{application.path.parent} has {' and '.join(_NAMES)} already, without channels; add "
        "`channels = Channels()` to the module of your choice, and run the command again"
    )


def _with_lines(text: str, application: Application, served: Served) -> str:
    lines = text.splitlines(keepends=True)
    end = application.statement.end_lineno or application.statement.lineno
    if end == len(lines) and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    if application.framework == "Django":
        lines[end:end] = [f"\n{application.indent}{line}\n" for line in _lines_of_django(application, served)]
        return "".join(lines)
    added = _lines(application, served.variable)
    if served.page is not None:
        added.append(f"{application.variable}.{_PAGES[application.framework][2]}")
    lines[end:end] = [f"{application.indent}{line}\n" for line in added]
    return "".join(lines)


def _lines_of_django(application: Application, served: Served) -> list[str]:
    """Return the lines below `get_asgi_application()`: from there on the channels may import models."""
    app = application.variable
    return [
        f"from {served.module} import {served.variable}  # noqa: E402  # once Django is set up",
        f"{app} = {served.variable}.asgi({app})",
    ]


def _has_urls(application: Application) -> bool:
    urls = application.path.with_name("urls.py")
    return "urlpatterns" in bound_names(parsed(text_of(urls) or "", urls))


def _page_of_django(application: Application, served: Served) -> list[Edit]:
    if served.page is None or application.framework != "Django":
        return []
    urls = application.path.with_name("urls.py")
    before = text_of(urls) or ""
    after = f"{before.rstrip()}\n\n{_DJANGO_PAGE}\n"
    wanted = (("django.urls", "path"), ("django.views.static", "serve"), (served.module, "PAGE"))
    for module, name in wanted:
        after = with_import(after, module, name)
    return [Edit(MOUNT, urls, before, after)]


def _lines(application: Application, realtime: str) -> list[str]:
    app = application.variable
    if application.framework == "Litestar":
        return [
            f'{app}.register(asgi("/realtime", is_mount=True, copy_scope=True)({realtime}.asgi()))',
            f"{app}.on_startup.append({realtime}.start)",
            f"{app}.on_shutdown.append({realtime}.stop)",
        ]
    # As a middleware, so that the name still refers to the framework's own object.
    return [f"{app}.add_middleware({realtime}.asgi)"]


def _mounts(path: Path, realtime: str) -> bool:
    text = text_of(path) or ""
    return f"{realtime}.asgi" in text and any(
        isinstance(node, ast.Attribute)
        and node.attr == "asgi"
        and isinstance(node.value, ast.Name)
        and node.value.id == realtime
        for node in ast.walk(parsed(text, path))
    )


def _places(found: list[tuple[Path, str]], here: Path) -> str:
    return ", ".join(f"{shown(path, here)}:{variable}" for path, variable in found)
