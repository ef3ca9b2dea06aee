"""Project files: the files of a project, without those of its tools and its dependencies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from flowcraft.scaffolding.edits import ScaffoldingRefused

_ELSEWHERE = {"node_modules", "dist", "build", "__pycache__", "venv", "site-packages"}


def files_below(folder: Path, ending: str) -> Iterator[Path]:
    """Yield the project's own files with an ending.

    Raises:
        ScaffoldingRefused: the path is not a folder.
    """
    if not folder.is_dir():
        raise ScaffoldingRefused(f"{folder} is not a folder; name a folder")
    for base, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if f not in _ELSEWHERE and not f.startswith("."))
        yield from (Path(base) / file for file in sorted(files) if file.endswith(ending))
