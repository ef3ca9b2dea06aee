"""Locating: find a project's object with the channels where no command line names it.

Imported when that is needed: a server that is started with MODULE:ATTRIBUTE loads no scaffolding.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from flowcraft.scaffolding.discovery import import_root, objects_made
from flowcraft.scaffolding.django_settings import NAMED
from flowcraft.scaffolding.remembered import remembered

Kind: TypeAlias = Literal["Channels", "Realtime"]
_KINDS: tuple[Kind, ...] = ("Realtime", "Channels")


@dataclass(frozen=True, slots=True)
class Located:
    """An object, as MODULE:ATTRIBUTE, and the folder that its module is imported from."""

    name: str
    root: Path


def located(here: Path, kind: Kind) -> list[Located]:
    """Return the project's object in a folder: the remembered one, or those in the code.

    `kind` is what is needed: Channels are in a Realtime object too.
    """
    known = remembered(here)
    if known is not None and known.realtime is not None:
        return [Located(known.realtime, known.root)]
    found = in_the_code(here, "Realtime")
    if kind == "Channels" and len(found) != 1:
        made = in_the_code(here, "Channels")
        return made if not found or len(made) == 1 else found
    return found


def root_of(module: str, here: Path) -> Path | None:
    """Return the folder that a module with such an object is imported from; None if there is none."""
    known = remembered(here)
    if known is not None and (known.realtime or "").split(".")[0] == module.split(".", maxsplit=1)[0]:
        return known.root
    found = [one for kind in _KINDS for one in in_the_code(here, kind)]
    return next((one.root for one in found if one.name.partition(":")[0] == module), None)


def in_the_code(here: Path, kind: Kind) -> list[Located]:
    """Return the objects that code below a folder creates."""
    made = [(path, import_root(path), variable) for path, variable in objects_made(here, kind)]
    return [Located(f"{_module_name(path, root)}:{variable}", root) for path, root, variable in made]


def settings_module(manage: Path) -> str | None:
    """Return the settings that a `manage.py` of Django names."""
    named = NAMED.search(manage.read_text("utf-8")) if manage.is_file() else None
    return None if named is None else named[1]


def _module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
