"""Shared metrics: a folder with the reports of all processes of one server, so that each can serve them all.

With SO_REUSEPORT a scrape reaches one arbitrary worker. Each process replaces its own file every second, and
a scrape reads every process from its file, including the one that responds: so counters never go backwards
between two scrapes.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from flowcraft.core.report import NodeReport

FOLDER = "FLOWCRAFT_METRICS_DIR"
"""The environment variable that names the folder."""
EVERY_SECONDS = 1.0
FORGOTTEN_SECONDS = 60.0
"""A process is left out once its file is this old: its pid may belong to another process by now."""
_decode = msgspec.json.Decoder(NodeReport).decode


class SharedMetrics:
    """Writes and reads the reports. The folder is for the processes of one server on one machine."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)

    @classmethod
    def found(cls) -> SharedMetrics | None:
        """Return the shared metrics that the environment names, or None."""
        folder = os.environ.get(FOLDER)
        return cls(folder) if folder else None

    async def keep(self, measure: Callable[[], NodeReport]) -> None:
        """Write this process's report every second until cancelled; then remove it.

        Raises:
            OSError: the folder cannot be written to.
        """
        mine = self._folder / f"{os.getpid()}.json"
        try:
            while True:
                await asyncio.to_thread(_replace, mine, msgspec.json.encode(measure()))
                await asyncio.sleep(EVERY_SECONDS)
        finally:
            mine.unlink(missing_ok=True)

    def read(self) -> list[NodeReport]:
        """Return the reports of the running processes, by pid."""
        return sorted(self._read(), key=lambda measures: measures.pid)

    def _read(self) -> Iterator[NodeReport]:
        for file in self._folder.glob("*.json"):
            # The process may have just ended, or the file is not ours.
            with suppress(OSError, ValueError, OverflowError):
                if not _is_running(int(file.stem)):
                    file.unlink()
                elif time.time() - file.stat().st_mtime < FORGOTTEN_SECONDS:
                    yield _decode(file.read_bytes())


def _replace(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_bytes(content)
    new.replace(file)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
