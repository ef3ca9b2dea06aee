"""Importing: import a module of the application, as its own server would."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import re
import sys
from pathlib import Path
from types import ModuleType

_DJANGO = "django.core.exceptions"
_MARKS = ("pyproject.toml", "manage.py", "requirements.txt", "setup.py", "alembic.ini", ".env")


def import_module(name: str, root: Path) -> ModuleType:
    """Import a module from a folder; where it needs the settings of Django, set Django up first.

    Raises:
        Exception: whatever the module raises.
    """
    folder = str(root)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # a console script's first entry is its own folder instead
    with contextlib.chdir(working_folder(root, Path.cwd())):
        try:
            return importlib.import_module(name)
        except Exception as error:
            if type(error).__module__ != _DJANGO or not _set_up(root):
                raise
        return importlib.import_module(name)


def working_folder(root: Path, here: Path) -> Path:
    """Return the folder that a project below is served from: its settings may read a `.env` there.

    `root` is the folder that its modules are imported from.
    """
    if not root.is_relative_to(here):
        return here
    for folder in (root, *root.parents):
        if folder == here:
            break
        if any((folder / mark).exists() for mark in _MARKS):
            return folder
    return here


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


def read_env_file(folder: Path, names: tuple[str, ...], root: Path | None = None) -> None:
    """Set variables that the environment lacks from the `.env` of a project.

    That is the nearest one in a folder or above it, and then that of the project whose modules are imported
    from `root`. Without such a variable, the settings of Django are named, where there is a `manage.py`.
    """
    served = None if root is None else working_folder(root, folder)
    for place in (_nearest(folder, ".env"), None if served is None else served / ".env"):
        if any(os.environ.get(name) for name in names):
            return
        for name, value in _pairs(place.read_text("utf-8", "replace")) if place and place.is_file() else ():
            if name in names and value:
                os.environ.setdefault(name, value)
    manage = _nearest(folder if root is None or not root.is_relative_to(folder) else root, "manage.py")
    if manage is not None and not any(os.environ.get(name) for name in names):
        _name_settings_of_django(manage)


def _name_settings_of_django(manage: Path) -> None:
    """Name the settings of a `manage.py`, and import Django: its database is used then."""
    from flowcraft.entrypoints.commands.locating import settings_module

    settings = settings_module(manage)
    if settings is None or importlib.util.find_spec("django") is None:
        return
    if str(manage.parent) not in sys.path:
        sys.path.insert(0, str(manage.parent))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", settings)
    importlib.import_module("django")


def _nearest(folder: Path, name: str) -> Path | None:
    for place in (folder, *folder.parents):
        if (place / name).is_file():
            return place / name
        if (place / ".git").exists():
            break
    return None


_PAIR = re.compile(r"""^\s*(?:export\s+)?(\w+)\s*=\s*("[^"]*"|'[^']*'|[^#\n]*)""", re.MULTILINE)


def _pairs(text: str) -> list[tuple[str, str]]:
    found = [(name, value.strip()) for name, value in _PAIR.findall(text)]
    return [(name, value[1:-1] if value[:1] in "\"'" and value[:1] else value) for name, value in found]
