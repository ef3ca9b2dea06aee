"""One run of the server process, from its start to its end."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING

from flowcraft.adapters.postgres.embedded.data_directory import ServerFailed, environment, postmaster_file
from flowcraft.adapters.postgres.embedded.identity import guarded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from flowcraft.adapters.postgres.embedded.identity import Identity

POLL_SECONDS = 0.003  # pg_ctl looks every 0.1 s, which would be most of a start
TAIL_BYTES = 8192  # about a hundred lines of log
STATE_LINE = 7  # of postmaster.pid, from 0
READY = {"ready", "standby"}


class Postmaster:
    """A server process, the child of a thread that only waits for its end.

    The kernel sends a parent-death signal when the *thread* that forked ends; callers' threads come and go.
    """

    def __init__(self, command: Sequence[str | Path], directory: Path, identity: Identity) -> None:
        # SIGQUIT, the immediate shutdown: no process would wait for a clean one, and the next start recovers.
        self._command = guarded(command, identity, ends_by=signal.SIGQUIT)
        self._directory = directory
        self._stale = postmaster_file(directory)
        self.log = directory / "server.log"
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        self._ended = threading.Event()
        started: Future[subprocess.Popen[bytes]] = Future()
        threading.Thread(target=self._run, args=[started], name="embedded-postgres", daemon=True).start()
        self._process = started.result()

    def _run(self, started: Future[subprocess.Popen[bytes]]) -> None:
        try:
            started.set_result(self._launch())
            self._process = started.result()
        except OSError as error:
            started.set_exception(error)
            return
        self._process.wait()
        self._ended.set()

    def _launch(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603
                self._command,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for this process, which stops the server itself
            )

    @property
    def pid(self) -> int:
        """The process id, which the server keeps to its end."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process has not ended yet."""
        return not self._ended.is_set()

    def await_ready(self, seconds: float) -> None:
        """Wait until the server accepts connections.

        Raises:
            ServerFailed: it ended instead, or was not ready in time.
        """
        deadline = time.monotonic() + seconds
        while not self._ready():
            if self.await_end(POLL_SECONDS):
                raise ServerFailed(f"PostgreSQL did not start in {self._directory}", self.log_tail())
            if time.monotonic() > deadline:
                self.end(signal.SIGKILL, seconds)
                raise ServerFailed(
                    f"PostgreSQL was not ready in {seconds:g} s in {self._directory}", self.log_tail()
                )

    def _ready(self) -> bool:
        # The file that pg_ctl reads; a log line depends on settings. The file of an earlier, killed server
        # has "ready" too, perhaps with the process id that this one has now.
        lines = postmaster_file(self._directory)
        ours = lines != self._stale and lines[:1] == [str(self.pid)]
        return ours and len(lines) > STATE_LINE and lines[STATE_LINE].strip() in READY

    def end(self, how: signal.Signals, seconds: float) -> bool:
        """Send a signal and wait for the end of the process; return whether it ended in time."""
        if self.running:
            self._process.send_signal(how)
        return self.await_end(seconds)

    def await_end(self, seconds: float) -> bool:
        """Wait for the end of the process; return whether it ended in time."""
        return self._ended.wait(seconds)

    def log_tail(self) -> str:
        """Return the end of what this run has logged."""
        with self.log.open("rb") as log:
            end = log.seek(0, 2)
            log.seek(max(self._log_start, end - TAIL_BYTES))
            return log.read().decode(errors="replace").strip()
