"""Programs: servers under test as processes of their own, which can be stopped, frozen and killed."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import flowcraft

COMMAND = "from flowcraft.entrypoints.cli import main; main()"
ROOT = Path(__file__).resolve().parents[1]
SOURCE = Path(flowcraft.__file__).resolve().parents[1]
READY_SECONDS = 20.0
ENDING_SECONDS = 20.0
LOOK_SECONDS = 0.01


class ServerProgram:
    """`flowcraft serve` on a port of its own. `lines` is what it printed, `log` what it reported."""

    words: tuple[str, ...] = ("serve",)

    def __init__(
        self,
        port: int,
        dsn: str,
        log: Path,
        *,
        harness: Mapping[str, object],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.port = port
        self.lines: list[str] = []
        self.log = log
        self._environment = {**os.environ, "DATABASE_URL": dsn, "FLOWCRAFT_HARNESS": json.dumps(harness)}
        self._environment |= environment or {}
        # The servers run what the harness runs: with a planted bug, another tree than this one.
        self._environment["PYTHONPATH"] = os.pathsep.join([str(SOURCE), str(ROOT)])
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        return f"ws://127.0.0.1:{self.port}/realtime"

    @property
    def runs(self) -> bool:
        """Whether it was started and not stopped."""
        return self._process is not None

    @property
    def pid(self) -> int:
        assert self._process is not None, "it does not run"
        return self._process.pid

    async def start(self, *, until_ready: bool = True) -> None:
        """Start it, and wait until it takes connections."""
        command = ["-c", COMMAND, *self.words, "faults.app:realtime", "--port", str(self.port)]
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, *command, env=self._environment, stdout=asyncio.subprocess.PIPE, stderr=log
            )
        self._reader = asyncio.create_task(self._read(self._process))
        if until_ready:
            await self.until(lambda health: bool(health["ready"]))

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal that ends it, and wait until it has."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.send_signal(number)
        try:
            async with asyncio.timeout(ENDING_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        finally:
            if self._reader is not None:
                await self._reader

    async def kill(self) -> None:
        """Kill it at once."""
        await self.stop(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Send a signal that it survives: SIGSTOP, SIGCONT, SIGHUP."""
        os.kill(self.pid, number)

    async def health(self, seconds: float = 2) -> dict[str, Any]:
        """What `/readyz` returns, within a time.

        Raises:
            OSError: it does not answer.
        """
        return await asyncio.to_thread(_get, f"http://127.0.0.1:{self.port}/readyz", seconds)

    async def until(self, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Look at its health until it fits."""
        async with asyncio.timeout(READY_SECONDS):
            while True:
                try:
                    health = await self.health()
                except OSError:
                    health = {}
                if health and fits(health):
                    return health
                if self._process is not None and self._process.returncode is not None:
                    raise RuntimeError(f"the server ended: {self.log.read_text()[-2000:]}")
                await asyncio.sleep(LOOK_SECONDS)

    def resident_bytes(self) -> int:
        """The memory it holds."""
        text = Path(f"/proc/{self.pid}/statm").read_text()
        return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def open_files(self) -> int:
        """Its open descriptors."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def damages(self, kind: str) -> list[float]:
        """When it did such damage to itself."""
        return [float(line.split()[2]) for line in self.lines if line.startswith(f"damage {kind} ")]

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self.lines.append(line.decode().rstrip())


def _get(url: str, seconds: float) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(url, timeout=seconds) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        text = error.read()
    except http.client.HTTPException as error:
        raise ConnectionError(f"{url}: {error}") from error
    if not text:  # it was killed between the head and the body
        raise ConnectionError(f"{url}: the answer is empty")
    return dict(json.loads(text))


async def until(holds: Callable[[], bool], seconds: float, *, every: float = LOOK_SECONDS) -> bool:
    """Look until something holds; whether it did in time."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(every)
    return True


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
