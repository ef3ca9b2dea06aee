"""Template files: texts with a `{{word}}` as the placeholder of a value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable

_SUFFIX = ".template"
_WORD = re.compile(r"\{\{([\w:@/.-]+)\}\}")
_FOLDER = files("flowcraft.scaffolding") / "templates"


def template(name: str, **words: str) -> str:
    """Return a template with its words filled in."""
    return filled((_FOLDER / f"{name}{_SUFFIX}").read_text("utf-8"), words)


def templates(name: str) -> Iterator[tuple[str, str]]:
    """Yield the texts of a folder of templates, with their target paths."""
    for path, file in _below(_FOLDER / name, ""):
        target = path.removesuffix(_SUFFIX)
        yield ".gitignore" if target == "gitignore" else target, file.read_text("utf-8")


def filled(text: str, words: Mapping[str, str]) -> str:
    """Return a text with its words replaced by their values."""
    return _WORD.sub(lambda found: words.get(found[1], found[0]), text)


def _below(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        path = f"{prefix}{entry.name}"
        if entry.is_dir():
            yield from _below(entry, f"{path}/")
        else:
            yield path, entry
