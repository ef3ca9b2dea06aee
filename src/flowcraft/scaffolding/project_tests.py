"""Project tests: whether a project has pytest, and whether its pages have vitest."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from flowcraft.scaffolding.edits import ScaffoldingRefused, text_of
from flowcraft.scaffolding.project_files import files_below

_PYTEST = re.compile(r"(?<![\w-])pytest(?![\w])")
_NAMED_IN = ("pyproject.toml", "setup.cfg", "setup.py", "tox.ini", "noxfile.py", "Pipfile", "uv.lock")
_OF_PAGES = ("vitest", "@testing-library/react")


def has_pytest(here: Path) -> bool:
    """Return whether a project has pytest: its files of dependencies name it, or its tests import it."""
    if any(path.name in ("pytest.ini", "conftest.py") for path in files_below(here, "")):
        return True
    named = [path for path in files_below(here, "") if path.name in _NAMED_IN or _are_requirements(path)]
    tests = [path for path in files_below(here, ".py") if path.name.startswith("test_")]
    return any(_PYTEST.search(_readable(path)) for path in (*named, *tests))


def has_vitest(folders: Iterable[Path]) -> bool:
    """Return whether the `package.json` of these folders have what the test of a hook imports."""
    known: set[str] = set()
    for folder in folders:
        package = _json(folder / "package.json")
        for group in ("dependencies", "devDependencies"):
            known |= set(cast(dict[str, Any], package.get(group) or {}))
    return known.issuperset(_OF_PAGES)


def _are_requirements(path: Path) -> bool:
    return path.suffix in (".txt", ".in") and "requirements" in str(path)


def _readable(path: Path) -> str:
    try:
        return text_of(path) or ""
    except ScaffoldingRefused:
        return ""


def _json(path: Path) -> dict[str, Any]:
    try:
        found: object = json.loads(_readable(path) or "{}")
    except ValueError:
        return {}
    return cast(dict[str, Any], found) if isinstance(found, dict) else {}
