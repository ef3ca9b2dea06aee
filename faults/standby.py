"""A standby: a copy of a data directory that follows its primary."""

from __future__ import annotations

import shutil
from pathlib import Path


def copy_with_owners(source: Path, target: Path) -> None:
    """Copy the directory of a stopped server, with its owners, for one that stands by."""
    shutil.copytree(source, target, symlinks=True)
    (target / "standby.signal").touch()
    (target / "postmaster.pid").unlink(missing_ok=True)
    for path in (target, *target.rglob("*")):
        original = source / path.relative_to(target)
        stat = (original if original.exists() else source).stat()
        shutil.chown(path, stat.st_uid, stat.st_gid)
