"""Starting: a new project, from nothing to a service and a live page, out of templates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from flowcraft._version import __version__
from flowcraft.scaffolding.edits import Asset, Edit, ScaffoldingRefused, text_of
from flowcraft.scaffolding.naming import kebab_case
from flowcraft.scaffolding.npm_package import NpmPackage
from flowcraft.scaffolding.template_files import filled, templates

Page: TypeAlias = Literal["plain", "react"]

SERVICE = "1 service"
PAGE = "2 page"
CLIENT = "3 client"

NPM_VERSIONS: Mapping[str, str] = {
    "@testing-library/dom": "10.4.2",
    "@testing-library/react": "16.3.3",
    "@types/node": "20.19.43",
    "@types/react": "19.3.0",
    "@types/react-dom": "19.3.0",
    "@vitejs/plugin-react": "6.3.0",
    "happy-dom": "21.0.4",
    "react": "19.3.1",
    "react-dom": "19.3.1",
    "typescript": "6.0.3",
    "vite": "8.3.8",
    "vitest": "4.1.12",
}
"""What the page is built and tested with: the versions that this one was tested with."""

_KEPT = {"README.md", ".gitignore"}
"""What people make before anything else, such as a hosting service does for them."""
_TABLES = "order_update --table orders --event OrderUpdate"
_VENDOR = "web/vendor"


def plan_start(folder: Path, page: Page, types: str, package: NpmPackage) -> tuple[list[Edit], list[Asset]]:
    """Plan a new project in a folder; `types` is the TypeScript of its channels.

    Raises:
        ScaffoldingRefused: a file that somebody else wrote is in the way.
    """
    words = _words(folder, page, package.name)
    planned = [(SERVICE, path, filled(text, words)) for path, text in templates("service")]
    planned += [(PAGE, path, filled(text, words)) for path, text in templates(page)]
    root = "web/src" if page == "react" else "web"
    planned += [(PAGE, f"{root}/{name}", filled(text, words)) for name, text in templates("shared")]
    planned.append((PAGE, f"{root}/realtime.gen.ts", types))
    assets: list[Asset] = []
    if page == "react":
        assets.append(Asset(CLIENT, folder / _VENDOR / package.name, package.content))
    else:
        planned += [(PAGE, f"{root}/{name}", text) for name, text in templates("typed")]
        planned += [(CLIENT, f"{root}/{path}", text) for path, text in vendored(package).items()]
    return [edit for place in planned if (edit := _new(folder, *place)) is not None], assets


def _new(folder: Path, step: str, path: str, text: str) -> Edit | None:
    there = text_of(folder / path)
    if there is None or there == text:
        return Edit(step, folder / path, there, text)
    if path in _KEPT:
        return None
    raise ScaffoldingRefused(
        f"{folder / path} is there already, and is not ours to overwrite; "
        "start in an empty folder: flowcraft init NAME"
    )


def _words(folder: Path, page: Page, tarball: str) -> dict[str, str]:
    name = kebab_case(re.sub(r"\W+", "-", folder.name).strip("-_") or "hello")
    react = page == "react"
    return {
        "name": name,
        "title": name.replace("-", " ").capitalize(),
        "version": __version__,
        "tarball": tarball,
        "page": "web/dist" if react else "web",
        "no_page": "run `npm install` and `npm run build` in web first" if react else "was it moved?",
        "build": "    (cd web && npm install && npm run build)\n" if react else "",
        "web_rows": _REACT_ROWS if react else _PLAIN_ROWS,
        "next_channel": _TABLES,
        **{f"npm:{package}": version for package, version in NPM_VERSIONS.items()},
    }


_GENERATE = "`flowcraft codegen typescript app.realtime:channels --out"
_PLAIN_ROWS = f"""\
`web/` | the page, without a build step: `page.js` and its style |
| `web/realtime.gen.ts` | the types of what it is told, generated: {_GENERATE} web/realtime.gen.ts` |
| `web/vendor/` | the client `@flowcraft/realtime`, as it came with the Python package |"""
_REACT_ROWS = f"""\
`web/src/` | the page, in React; while you work on it: `npm run dev` in `web`, beside `python -m app` |
| `web/src/realtime.gen.ts` | the types of what it is told, generated: {_GENERATE} web/src/realtime.gen.ts` |
| `web/vendor/` | the client `@flowcraft/realtime`, as it came with the Python package |"""


def vendored(package: NpmPackage) -> dict[str, str]:
    """Return the client as a page has it that is served without a build step, by path."""
    return {f"vendor/flowcraft-realtime/{path}": text for path, text in package.for_the_browser().items()}
