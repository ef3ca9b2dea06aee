"""The board: a folder where the processes of one server leave their measures, so that any can tell of all.

Whoever asks for metrics meets a random process of those that share a port. Each has its own file, replaced
as a whole every second, and what is told of a process comes from there, also of the one that answers: two
answers in a row never go back in time.
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
"""The environment variable that names it."""
EVERY_SECONDS = 1.0
FORGOTTEN_SECONDS = 60.0
"""A process that has left nothing for this long is not told of: its number may be another's by now."""
_decode = msgspec.json.Decoder(NodeReport).decode


class SharedMetrics:
    """Where measures are left and read. The folder is for the processes of one server on one machine."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)

    @classmethod
    def found(cls) -> SharedMetrics | None:
        """Return the one that the environment names."""
        folder = os.environ.get(FOLDER)
        return cls(folder) if folder else None

    async def keep(self, measure: Callable[[], NodeReport]) -> None:
        """Leave measures every second until cancelled; then take them away.

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
        """Return what the processes that run have left, by their numbers."""
        return sorted(self._read(), key=lambda measures: measures.pid)

    def _read(self) -> Iterator[NodeReport]:
        for file in self._folder.glob("*.json"):
            with suppress(OSError, ValueError, OverflowError):  # it has just ended, or is no file of ours
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
