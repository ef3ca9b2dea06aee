"""The user that PostgreSQL runs as, and the command that runs it so."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

SCRIPT = Path(__file__).with_name("guarded_exec.py")


@dataclass(frozen=True, slots=True)
class Identity:
    """The present user, the same under another number in a user namespace, or another user."""

    kind: Literal["same", "namespace", "user"]
    uid: int
    gid: int


def identity_for(directory: Path) -> Identity:
    """Return the identity that PostgreSQL, which refuses root and nameless users, takes for its directory.

    Root becomes the directory's owner; if that is root, another number in a user namespace, with root's files
    but none of its powers; where that is not permitted, the user `nobody`. A user without a name, as some
    containers have, takes one in a namespace too.
    """
    nobody = _nobody()
    if os.geteuid() != 0:
        nameless = not _has_a_name(os.geteuid()) and may_unshare()
        return Identity("namespace" if nameless else "same", nobody.pw_uid, nobody.pw_gid)
    if directory.exists() and (owner := directory.stat()).st_uid != 0:
        return Identity("user", owner.st_uid, owner.st_gid)
    return Identity("namespace" if may_unshare() else "user", nobody.pw_uid, nobody.pw_gid)


def guarded(command: Sequence[str | Path], identity: Identity, ends_by: signal.Signals) -> list[str]:
    """Return the command that runs `command` as that identity and sends it a signal when its parent ends.

    The parent is the *thread* that calls fork, so that thread must live as long as the program. Only Linux
    signals a program when its parent was killed.
    """
    who = (identity.kind, str(identity.uid), str(identity.gid))
    preparation = [sys.executable, "-ISB", str(SCRIPT), str(os.getpid()), str(int(ends_by)), *who]
    return [*preparation, *map(str, command)]


@lru_cache
def may_unshare() -> bool:
    """Return whether this process may make a user namespace; containers often forbid it."""
    if sys.platform != "linux":
        return False
    nobody = _nobody()
    attempt = guarded([], Identity("namespace", nobody.pw_uid, nobody.pw_gid), signal.SIGKILL)
    return subprocess.run(attempt, capture_output=True, check=False).returncode == 0  # noqa: S603


def _has_a_name(uid: int) -> bool:
    return any(user.pw_uid == uid for user in pwd.getpwall())


def _nobody() -> pwd.struct_passwd:
    # The number must have a name: initdb looks up the name of its user.
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        return next(user for user in pwd.getpwall() if user.pw_uid != 0)
