"""Pages: the client and the types for a project's React application, or a first page without React."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from flowcraft.scaffolding import web_templates
from flowcraft.scaffolding.edits import Asset, Edit, PlaceUnknown, shown, text_of
from flowcraft.scaffolding.naming import names_of
from flowcraft.scaffolding.npm_package import npm_package
from flowcraft.scaffolding.page_client import page_client
from flowcraft.scaffolding.project_files import files_below
from flowcraft.scaffolding.request import ChannelRequest, Field, Project
from flowcraft.scaffolding.starting import vendored
from flowcraft.scaffolding.template_files import templates
from flowcraft.scaffolding.web_wiring import plan_wiring

CLIENT = "3 client"
PAGE = "3 page"
TYPES = "4 TypeScript types"
HOOK = "5 hook"
_PACKAGE = "@flowcraft/realtime"
_DEPENDENCIES = re.compile(r'("dependencies"\s*:\s*\{)(\s*)(?=")')


@dataclass(frozen=True, slots=True)
class WebPlan:
    """The changes in a web application; `by_hand` has the steps left to the user."""

    edits: tuple[Edit, ...] = ()
    assets: tuple[Asset, ...] = ()
    by_hand: tuple[str, ...] = ()
    has_address: bool = False
    """Whether the page names the address of the service: it may have an origin of its own."""


def find_web(here: Path, hint: str | None) -> Path | None:
    """Return the folder of the project's React application, or None.

    Raises:
        PlaceUnknown: several were found, or none in the hinted folder.
    """
    found = [file.parent for file in files_below(here / (hint or ""), "package.json") if _uses_react(file)]
    if len(found) > 1 or (hint is not None and not found):
        raise PlaceUnknown("--web", "the folder of the React application", [shown(f, here) for f in found])
    return found[0] if found else None


def plan_web(web: Path, types: str, module: Path, *, cookies: bool = False) -> WebPlan:
    """Plan the client, and the types and hook of the first channel, for a React application."""
    client = _plan_client(web)
    source = web / "src" if (web / "src").is_dir() else web
    generated = source / "realtime.gen.ts"
    project = Project(web, module, "channels", module, generated, web)
    request = ChannelRequest(names_of("system"), "Notice", (Field("text", "str"),), "system")
    hook = source / "features/system/hooks/use-system.ts"
    edits = [
        Edit(TYPES, generated, text_of(generated), types),
        Edit(HOOK, hook, text_of(hook), text_of(hook) or web_templates.hook(request, project, "use-system")),
    ]
    of_page = page_client(source)
    wiring, by_hand = plan_wiring(web, source, of_page, cookies=cookies)
    planned = (*client.edits, *edits, *wiring)
    return WebPlan(planned, client.assets, (*client.by_hand, *by_hand), of_page.address is not None)


def plan_page(folder: Path, types: str) -> WebPlan:
    """Plan a page that shows events, in a new folder."""
    planned = [(PAGE, name, text) for part in ("live", "typed", "shared") for name, text in templates(part)]
    planned += [(CLIENT, path, text) for path, text in vendored(npm_package()).items()]
    planned.append((TYPES, "realtime.gen.ts", types))
    return WebPlan(tuple(Edit(step, folder / path, None, text) for step, path, text in planned))


def _plan_client(web: Path) -> WebPlan:
    file = web / "package.json"
    before = text_of(file) or ""
    if _PACKAGE in _dependencies(file):
        return WebPlan()
    package = npm_package()
    asset = Asset(CLIENT, web / "vendor" / package.name, package.content)
    line = f'"{_PACKAGE}": "file:vendor/{package.name}",'
    after, replaced = _DEPENDENCIES.subn(rf"\g<1>\g<2>{line}\g<2>", before, count=1)
    if not replaced:
        return WebPlan((), (asset,), (f"add {line} to the dependencies of {file}",))
    return WebPlan((Edit(CLIENT, file, before, after),), (asset,))


def _uses_react(package: Path) -> bool:
    return "vendor" not in package.parts and "react" in _dependencies(package)


def _dependencies(package: Path) -> dict[str, Any]:
    try:
        found: object = json.loads(text_of(package) or "{}")
    except ValueError:
        return {}
    groups = cast(dict[str, Any], found) if isinstance(found, dict) else {}
    dependencies: dict[str, Any] = groups.get("dependencies") or {}
    return dependencies
