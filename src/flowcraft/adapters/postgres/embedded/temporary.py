"""A temporary folder, removed by its owner, or, if that was killed, by the next process that creates one."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "flowcraft-postgres-"
LOCK = "owner.lock"
MEMORY = Path("/dev/shm")  # noqa: S108  # folders in it have random names and mode 0700
ROOM_BYTES = 2 << 30  # 2 GiB: room for several servers, each with its data and up to 256 MB of WAL


def in_memory() -> Path | None:
    """Return a folder in memory, if there is room; containers often have only 64 MB."""
    roomy = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM_BYTES
    return MEMORY if roomy else None


class TemporaryFolder:
    """A new folder in the system's temporary folder, owned for as long as its lock is held."""

    def __init__(self, base: Path | None = None) -> None:
        base = base or Path(tempfile.gettempdir())
        _sweep(base)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        # Locked under another name first: another process that sees the lock file finds it locked.
        unlocked = self.path / f"{LOCK}.new"
        self._lock = os.open(unlocked, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        unlocked.rename(self.path / LOCK)

    def remove(self) -> None:
        """Remove the folder and all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _sweep(base: Path) -> None:
    for folder in base.glob(f"{PREFIX}*"):
        try:
            if folder.lstat().st_uid == os.geteuid():
                _remove_if_abandoned(folder)
        except OSError:
            continue  # another process was faster


def _remove_if_abandoned(folder: Path) -> None:
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
