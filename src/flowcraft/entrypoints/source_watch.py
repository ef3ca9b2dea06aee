"""Source watch: wait until a file of a project has changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

from flowcraft.scaffolding.project_files import files_below

POLL_SECONDS = 0.3
"""Often enough for a person, and cheap: a project of 2,000 files takes 10 ms to list."""
ENDINGS = (".py", ".sql", ".toml", ".ini")
Seen: TypeAlias = dict[Path, int]


def seen(folders: Iterable[Path]) -> Seen:
    """Return when each source below some folders was changed last."""
    found: Seen = {}
    for folder in folders:
        for path in files_below(folder, ""):
            if path.suffix in ENDINGS or path.name == ".env":
                try:
                    found[path] = path.stat().st_mtime_ns
                except FileNotFoundError:  # removed while we look
                    continue
    return found


def changed(before: Seen, now: Seen) -> list[Path]:
    """Return the files that are new, changed or gone."""
    return sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))


def wait_for_change(folders: Iterable[Path], before: Seen, each: Callable[[], None] | None = None) -> Seen:
    """Return the new state once it differs from an old one, and then does not change for one poll.

    `each` is called at every poll before that.
    """
    places = list(folders)
    while not changed(before, now := seen(places)):
        if each is not None:
            each()
        time.sleep(POLL_SECONDS)
    while True:  # editors and formatters write several files, some of them twice
        time.sleep(POLL_SECONDS)
        if not changed(now, again := seen(places)):
            return again
        now = again
