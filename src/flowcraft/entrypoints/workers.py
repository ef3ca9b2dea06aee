"""Workers: keep several server processes on one port, and replace them one after another on SIGHUP.

This process reads no log and accepts no connection. It holds the port, so a worker that ends loses
only its own connections; those resume elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from flowcraft.entrypoints.metrics import shared_folder
from flowcraft.entrypoints.serve import address_of, allow_clients, log_limits, stop_signal
from flowcraft.entrypoints.shared_port import SharedPort
from flowcraft.entrypoints.worker import ACCEPTING, LISTENING, WorkerSlot
from flowcraft.runtime.supervisor import Supervisor
from flowcraft.settings import Settings

logger = logging.getLogger(__name__)

READY_SECONDS = 30.0
"""A replacement that does not serve within this time is ended, and the old worker stays."""
BEYOND_DRAIN_SECONDS = 10.0
"""A worker that has not ended this long after its drain is killed: a hanging loop ends no other way."""


class WorkerEnded(Exception):
    """A worker process ended by itself."""


class Worker:
    """One worker process, its progress, and our side of the sockets it listens on."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        sockets: Sequence[socket.socket],
        progress: asyncio.StreamReader,
    ) -> None:
        self.process = process
        self.sockets = sockets
        self._progress = progress

    @classmethod
    async def start(cls, target: str, number: int, sockets: Sequence[socket.socket]) -> Worker:
        """Start a process that listens on these sockets; `wait` closes our copies of them."""
        ours, theirs = os.pipe()
        progress = asyncio.StreamReader()
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(progress), os.fdopen(ours, "rb")
        )
        slot = WorkerSlot(number, theirs, tuple(one.fileno() for one in sockets))
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # or a folder `flowcraft` in the working directory would hide this package
                *("-m", "flowcraft.entrypoints.cli", "serve", target, "--worker", str(slot)),
                stdin=asyncio.subprocess.PIPE,  # closed when this process ends: the worker stops then
                pass_fds=(theirs, *slot.sockets),
                start_new_session=True,  # Ctrl-C reaches only this process, which stops the workers in order
            )
        except BaseException:
            pipe.close()
            _close(sockets)
            raise
        finally:
            os.close(theirs)
        logger.info("worker %d is process %d", number, process.pid)
        return cls(process, sockets, progress)

    async def reaches(self, step: bytes) -> bool:
        """Wait until the worker reports a step; return False if it ends first."""
        while line := await self._progress.readline():
            if line == step:
                return True
        return False

    async def wait(self) -> int:
        """Wait for its end, and close our copies of its sockets: new connections go to the others at once."""
        status = await self.process.wait()
        _close(self.sockets)
        return status

    async def end(self, within: float) -> None:
        """Have the worker drain its clients and end; kill it if it does not end in time."""
        with suppress(ProcessLookupError):
            self.process.terminate()
        try:
            await asyncio.wait_for(self.process.wait(), within)
        except TimeoutError:
            logger.warning("process %d did not end within %g s; killed", self.process.pid, within)
            with suppress(ProcessLookupError):
                self.process.kill()
        await self.wait()


class Workers:
    """A port and the workers on it. `announce` is called with the address once the first worker listens."""

    def __init__(
        self,
        target: str,
        count: int,
        port: SharedPort,
        settings: Settings,
        *,
        announce: Callable[[str], None] = print,
    ) -> None:
        self._target = target
        self._port = port
        self._end_seconds = settings.drain_seconds + BEYOND_DRAIN_SECONDS
        self._announce: Callable[[str], None] | None = announce
        self._supervisor = Supervisor()
        self._keepers = [_WorkerKeeper(number, self) for number in range(1, count + 1)]
        self._running: set[Worker] = set()

    async def run(self) -> None:
        """Keep the workers until SIGTERM or SIGINT; SIGHUP replaces them one after another."""
        stopped, replace = stop_signal(), asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, replace.set)
        for keeper in self._keepers:
            self._supervisor.keep(f"worker {keeper.number}", keeper.keep)
        self._supervisor.keep("rolling restart", lambda: self._replace_when(replace))
        await stopped.wait()
        await self._supervisor.stop()
        ends = [self.end(worker) for worker in list(self._running)]
        for outcome in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(outcome, BaseException):
                logger.error("a worker could not be ended", exc_info=outcome)

    async def start(self, number: int, beside: Worker | None = None) -> Worker:
        """Start a worker; with `beside`, on copies of that worker's sockets."""
        sockets = self._port.sockets() if beside is None else [one.dup() for one in beside.sockets]
        worker = await Worker.start(self._target, number, sockets)
        self._running.add(worker)
        return worker

    async def end(self, worker: Worker) -> None:
        """End a worker, and wait for its end."""
        await worker.end(self._end_seconds)
        self.ended(worker)

    def ended(self, worker: Worker) -> None:
        """Forget a worker that has ended."""
        self._running.discard(worker)

    def listens(self) -> None:
        """Announce the address when the first worker listens."""
        announce, self._announce = self._announce, None
        if announce is not None:
            announce(address_of(self._port.first.getsockname()))

    async def _replace_when(self, asked: asyncio.Event) -> None:
        while True:
            await asked.wait()
            asked.clear()
            for keeper in self._keepers:
                if not await keeper.replace():
                    logger.error(
                        "rolling restart stopped: the new worker %d cannot serve; the old one stays",
                        keeper.number,
                    )
                    break
            else:
                logger.info("rolling restart complete: all workers have been replaced")


class _WorkerKeeper:
    """Keeps one worker process running, and replaces it on request."""

    def __init__(self, number: int, workers: Workers) -> None:
        self.number = number
        self._workers = workers
        self._worker: Worker | None = None
        self._turn = asyncio.Lock()

    async def keep(self) -> None:
        """Start a worker if there is none, and wait until it ends by itself.

        Raises:
            WorkerEnded: the process ended; call again to start another.
        """
        async with self._turn:
            if self._worker is None:
                self._worker = await self._workers.start(self.number)
        if await self._worker.reaches(LISTENING):
            self._workers.listens()
        while True:
            worker = self._worker
            status = await worker.wait()
            if worker is self._worker:
                self._worker = None
                self._workers.ended(worker)
                raise WorkerEnded(f"process {worker.process.pid} ended with status {status}")

    async def replace(self) -> bool:
        """Start a new worker, and end the old one once the new one serves; return whether it does."""
        new = await self._workers.start(self.number, self._worker)
        ready = False
        try:
            async with asyncio.timeout(READY_SECONDS):
                ready = await new.reaches(ACCEPTING)
        except (TimeoutError, OSError, ValueError) as error:  # no step in time, or bytes that are no step
            logger.warning(
                "the new worker %d does not serve within %g s: %r", *(self.number, READY_SECONDS, error)
            )
        if not ready:
            await self._workers.end(new)
            return False
        async with self._turn:
            old, self._worker = self._worker, new
        self._workers.listens()
        if old is not None:
            await self._workers.end(old)
        return True


def serve_by_workers(
    target: str,
    count: int,
    at: tuple[str, int],
    settings: Settings,
    *,
    announce: Callable[[str], None] = print,
) -> None:
    """Serve a target in several processes until SIGTERM or SIGINT; `at` is a host and a port.

    Raises:
        OSError: the port is taken, or may not be used; or this system cannot share one.
    """
    port = SharedPort(*at)
    allow_clients(settings)  # the workers inherit the limit
    log_limits(settings)
    try:
        with shared_folder():
            asyncio.run(Workers(target, count, port, settings, announce=announce).run())
    finally:
        port.close()


def _close(sockets: Sequence[socket.socket]) -> None:
    for one in sockets:
        one.close()
