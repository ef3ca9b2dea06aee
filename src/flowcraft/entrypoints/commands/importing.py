"""Importing: import a module of the application, as its own server would."""

from __future__ import annotations

import importlib
import os
import re
import sys
from pathlib import Path
from types import ModuleType

_DJANGO = "django.core.exceptions"


def import_module(name: str, root: Path) -> ModuleType:
    """Import a module from a folder; where it needs the settings of Django, set Django up first.

    Raises:
        Exception: whatever the module raises.
    """
    folder = str(root)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # a console script's first entry is its own folder instead
    try:
        return importlib.import_module(name)
    except Exception as error:
        if type(error).__module__ != _DJANGO or not _set_up(root):
            raise
    return importlib.import_module(name)


def _set_up(root: Path) -> bool:
    """Set Django up with the settings that the environment or `manage.py` names."""
    if "DJANGO_SETTINGS_MODULE" not in os.environ:
        from flowcraft.entrypoints.commands.locating import settings_module

        settings = settings_module(root / "manage.py")
        if settings is None:
            return False
        os.environ["DJANGO_SETTINGS_MODULE"] = settings
    importlib.import_module("django").setup()
    return True


def read_env_file(folder: Path, names: tuple[str, ...]) -> None:
    """Set variables that the environment lacks from the `.env` in a folder, or above it in the project."""
    if any(os.environ.get(name) for name in names):
        return
    for place in (folder, *folder.parents):
        if (place / ".env").is_file():
            for name, value in _pairs((place / ".env").read_text("utf-8", "replace")):
                if name in names and value:
                    os.environ.setdefault(name, value)
            return
        if (place / ".git").exists():
            return


_PAIR = re.compile(r"""^\s*(?:export\s+)?(\w+)\s*=\s*("[^"]*"|'[^']*'|[^#\n]*)""", re.MULTILINE)


def _pairs(text: str) -> list[tuple[str, str]]:
    found = [(name, value.strip()) for name, value in _PAIR.findall(text)]
    return [(name, value[1:-1] if value[:1] in "\"'" and value[:1] else value) for name, value in found]
