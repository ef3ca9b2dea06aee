"""The site's hooks: navigation from the folders, pages of what docs/ links to outside of it, and access."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "spec/protocol.md": "spec/protocol.md",
    "reference/client.md": "packages/realtime/README.md",
    **{
        f"examples/{readme.parent.name}.md": readme.relative_to(ROOT).as_posix()
        for readme in sorted(ROOT.glob("examples/*/README.md"))
    },
}
"""Pages of the site that lie elsewhere in the repository."""
FOLDERS = {
    "docs/guides": "guides/deploying.md",
    "docs/decisions": "decisions/0002-the-wire.md",
    "docs": "index.md",
}
"""Where a link to a folder leads on the site."""
GROUPS: dict[str, tuple[str, ...]] = {
    "Tutorials": ("tutorials/first-page.md", "tutorials/run-page.md", "tutorials/"),
    "Guides": (
        "guides/rows.md",
        "guides/presence.md",
        *("guides/compared.md", "guides/from-notify.md", "guides/from-supabase.md"),
        *("guides/from-centrifugo.md", "guides/from-electric.md", "guides/from-convex.md", "guides/"),
        *(
            "guides/logins.md",
            "guides/security.md",
            "guides/deploying.md",
            "guides/workers.md",
            "guides/docker.md",
        ),
        *("guides/kubernetes.md", "guides/poolers.md", "guides/managed-postgres.md", "guides/retention.md"),
        "guides/troubleshooting.md",
    ),
    "Concepts": ("concepts/pipeline.md", "concepts/cursor.md", "guarantees.md", "concepts/", "benchmarks.md"),
    "Reference": (
        "reference.md",
        "reference/python.md",
        "reference/client.md",
        "reference/",
        "checks.md",
        "spec/protocol.md",
    ),
    "Project": ("examples/", "changelog.md", "contributing.md"),
    "Decisions": ("decisions/",),
}
"""The navigation: pages in this order; a folder stands for what is in it and not named beside it."""
TITLES = {
    "guarantees.md": "Guarantees",
    "reference.md": "Public names",
    "reference/client.md": "TypeScript: the client",
    "reference/typescript.md": "TypeScript: all names",
    "reference/python.md": "Python",
    "reference/sql.md": "SQL",
    "checks.md": "Checks",
    "spec/protocol.md": "The protocol",
    "examples/flowcraft.md": "The example",
    "guides/rows.md": "Rows: live lists",
    "guides/presence.md": "Presence: who is here",
    "guides/compared.md": "Compared with others",
    "guides/from-electric.md": "Migrate from Electric",
    "guides/from-convex.md": "Migrate from Convex or Zero",
    "guides/retention.md": "Retention",
    "guides/workers.md": "Several workers",
    "guides/troubleshooting.md": "Troubleshooting",
}
"""Shorter than the page's own heading."""

_FENCE = re.compile(r" *(```+|~~~+)")
_LINK = re.compile(r"(!?\[(?:[^\]\[]|\[[^\]]*\])*\]\()([^)\s#]+)(#[^)\s]*)?(\))")
_ELSEWHERE = re.compile(r"[a-z]+:|//")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie elsewhere, and make the navigation of all."""
    for name, source in PAGES.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / source)))
    pages = [file.src_uri for file in files.documentation_pages()]
    config.nav = [{"Home": "index.md"}, *_navigation(pages)]
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links that leave docs/ to where the site has what they name."""
    source = PAGES.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    here = posixpath.dirname(page.file.src_uri)

    def led(match: re.Match[str]) -> str:
        before, target, anchor, after = match.groups(default="")
        if _ELSEWHERE.match(target):
            return match[0]
        named = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        there = _on_site(named, source, lambda name: _keep(files, config, name))
        return f"{before}{posixpath.relpath(there, here or '.')}{anchor}{after}"

    parts: list[str] = []
    for fenced, lines in groupby(_lines(markdown), key=itemgetter(0)):
        text = "".join(line for _, line in lines)  # a link may go on on the next line
        parts.append(text if fenced else _LINK.sub(led, text))
    return "".join(parts)


def on_post_page(output: str, **_: object) -> str:
    """Give screen readers what the theme leaves out: a name of the search, and no heading without text."""
    named = output.replace('role="dialog"', 'role="dialog" aria-label="Search"')
    return named.replace("<th></th>", "<td></td>")


def _navigation(pages: list[str]) -> Iterator[dict[str, list[str | dict[str, str]]]]:
    left: list[str] = sorted(set(pages) - {"index.md"})
    named = {page for wanted in GROUPS.values() for page in wanted}
    for group, wanted in GROUPS.items():
        taken: list[str] = []
        for want in wanted:
            rest = [page for page in left if page.startswith(want) and page not in named]
            taken += rest if want.endswith("/") else [want] if want in left else []
        left = [page for page in left if page not in taken]
        if taken:
            yield {group: [{TITLES[page]: page} if page in TITLES else page for page in taken]}
    if left:
        raise PluginError(f"no group of the navigation has {', '.join(left)}: see GROUPS in {__file__}")


def _on_site(named: str, source: str, keep: Callable[[str], str]) -> str:
    if named in FOLDERS:
        return FOLDERS[named]
    if named.startswith("docs/"):
        return named.removeprefix("docs/")  # mkdocs itself reports a missing one
    for page, origin in PAGES.items():
        if named in {origin, posixpath.dirname(origin)} - {""}:
            return page
    if not (ROOT / named).is_file():
        raise PluginError(f"{source} links to {named}, which is no file of the repository and no page")
    return keep(named)


def _keep(files: Files, config: MkDocsConfig, named: str) -> str:
    """Put a file of the repository on the site; as text, so that a browser shows it."""
    there = f"files/{named}" if named.endswith((".json", ".txt")) else f"files/{named}.txt"
    if files.get_file_from_path(there) is None:
        files.append(File.generated(config, there, abs_src_path=os.fspath(ROOT / named)))
    return there


def _lines(markdown: str) -> Iterator[tuple[bool, str]]:
    """Yield each line, and whether it is part of a fenced block."""
    closing = ""
    for line in markdown.splitlines(keepends=True):
        fence = _FENCE.match(line)
        if closing:
            yield True, line
            if fence and fence[1].startswith(closing):
                closing = ""
        else:
            yield fence is not None, line
            closing = fence[1] if fence else ""
