"""The data directory: created as a whole, of a known version, and used by one server at a time."""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from flowcraft.adapters.postgres.embedded.identity import guarded
from flowcraft.errors import RealtimeError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowcraft.adapters.postgres.embedded.binaries import Binaries
    from flowcraft.adapters.postgres.embedded.identity import Identity

SUPERUSER = "postgres"
SHARED_MEMORY_LINE = 6  # of postmaster.pid, from 0: key and id of the System V segment
IPC_RMID = 0  # of <sys/ipc.h>: remove the segment
BUILTIN_LOCALE_SINCE = 17


class ServerFailed(RealtimeError):
    """The embedded server did not start or stop; `log` is the end of its log."""

    def __init__(self, what: str, log: str = "") -> None:
        super().__init__(f"{what}; the end of its log:\n{log}" if log else what)
        self.log = log


class DataDirectoryInUse(ServerFailed):
    """Another server works in that data directory."""

    def __init__(self, directory: Path, pids: Iterable[int]) -> None:
        self.directory = directory
        self.pids = tuple(pids)
        users = ", ".join(map(str, self.pids))
        super().__init__(
            f"data directory {directory} is in use by process {users}; stop it or choose another directory"
        )


def major_of(directory: Path) -> int | None:
    """Return the major version of PostgreSQL that made a data directory; None if there is nothing yet.

    Raises:
        ServerFailed: the directory holds something else.
    """
    if (version := directory / "PG_VERSION").exists():
        return int(version.read_text())
    if directory.exists() and any(directory.iterdir()):
        raise ServerFailed(
            f"{directory} is neither empty nor a PostgreSQL data directory; choose another one"
        )
    return None


def initialise(directory: Path, binaries: Binaries, identity: Identity) -> None:
    """Make a data directory: UTF-8, the same order of text everywhere, passwords only for TCP.

    Raises:
        ServerFailed: initdb failed.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    # Created beside it and renamed, so that an initdb that is killed leaves no partial data directory. Not a
    # copy of an earlier one: copies would share one system identifier.
    incoming = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        if identity.kind == "user":
            os.chown(incoming, identity.uid, identity.gid)
        _run_initdb(incoming, binaries, identity)
        incoming.rename(directory)
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


def _run_initdb(directory: Path, binaries: Binaries, identity: Identity) -> None:
    builtin = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    options = [
        *("--encoding=UTF8", "--locale=C", *(builtin if binaries.major >= BUILTIN_LOCALE_SINCE else [])),
        *("--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync", "--no-instructions"),
    ]
    command: list[str | Path] = [
        binaries.directory / "initdb",
        f"--pgdata={directory}",
        f"--username={SUPERUSER}",
        *options,
    ]
    outcome = subprocess.run(  # noqa: S603
        guarded(command, identity, ends_by=signal.SIGTERM),
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if outcome.returncode != 0:
        raise ServerFailed(f"initdb of {binaries} failed for {directory}", outcome.stdout.strip())


def environment() -> dict[str, str]:
    """Return the environment of this process without the variables that would make servers differ.

    `NOTIFY_SOCKET` is left out too: a systemd unit is not ready as soon as its database is.
    """
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "LC_", "NOTIFY_SOCKET"))
    }
    return {**ours, "LC_ALL": "C", "TZ": "UTC"}


def await_unused(directory: Path, seconds: float) -> None:
    """Wait until no server works in a data directory; end the processes of one whose postmaster is gone.

    Raises:
        DataDirectoryInUse: a server goes on working in it.
    """
    pids = processes_in(directory)
    if pids and postmaster_pid(directory) not in pids:
        signal_all(pids, signal.SIGQUIT)
    if not await_end(pids, seconds):
        raise DataDirectoryInUse(directory, processes_in(directory))


def postmaster_pid(directory: Path) -> int | None:
    """Return the process id in `postmaster.pid`, which may be out of date."""
    lines = postmaster_file(directory)
    return int(lines[0]) if lines else None


def postmaster_file(directory: Path) -> list[str]:
    """Return the lines of `postmaster.pid`: first the process id, eighth the state."""
    try:
        return (directory / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def forget_shared_memory(directory: Path) -> None:
    """Free the segment that a killed server cannot free, which `postmaster.pid` names in its seventh line."""
    lines = postmaster_file(directory)
    if len(lines) > SHARED_MEMORY_LINE and (words := lines[SHARED_MEMORY_LINE].split()):
        ctypes.CDLL(None).shmctl(int(words[-1]), IPC_RMID, None)


def processes_in(directory: Path) -> list[int]:
    """Return the server processes that work in a data directory; always none elsewhere than on Linux."""
    if sys.platform != "linux" or not directory.exists():
        return []
    place = directory.stat()
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _is_server_in(entry, place)]


def _is_server_in(process: Path, place: os.stat_result) -> bool:
    try:
        return (
            os.path.samestat((process / "cwd").stat(), place)
            and (process / "comm").read_text() == "postgres\n"
        )
    except OSError:  # it ended, or belongs to another user
        return False


def signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to each process that is still there."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def await_end(pids: Iterable[int], seconds: float) -> bool:
    """Wait until processes have ended, children or not; return whether all have."""
    deadline = time.monotonic() + seconds
    return all(_await_one(pid, deadline) for pid in pids)


def _await_one(pid: int, deadline: float) -> bool:
    if sys.platform != "linux":
        raise NotImplementedError("process file descriptors exist on Linux only")
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        ended = select.poll()
        ended.register(process, select.POLLIN)
        return bool(ended.poll(max(0.0, deadline - time.monotonic()) * 1000))
    finally:
        os.close(process)
