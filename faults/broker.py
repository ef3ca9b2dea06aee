"""Broker: a real nats-server as a child process on a loopback port of its own, with its own folder."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 10.0
WITHOUT = "edges were not run: no nats-server (Debian: apt install nats-server)"


class NoBroker(Exception):
    """There is no nats-server here."""


class NatsServer:
    """One server; it can be stopped, killed, frozen, and started again at its address."""

    def __init__(self, folder: Path, config: str = "") -> None:
        self._folder = folder
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        self.port = -1

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, on the port that it had before.

        Raises:
            NoBroker: it is not installed.
        """
        binary = find_binary()
        if binary is None:
            raise NoBroker(WITHOUT)
        ports = self._folder / "ports"
        shutil.rmtree(ports, ignore_errors=True)
        ports.mkdir(parents=True)
        config = self._folder / "nats.conf"
        config.write_text(self._config)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [binary, "-c", config, "-a", "127.0.0.1", "-p", str(self.port), "--ports_file_dir", ports],
                stdout=log,
                stderr=log,
                cwd=self._folder,
            )
        deadline = time.monotonic() + START_SECONDS
        while not (found := list(ports.glob("*.ports"))) or not found[0].read_text().strip():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._folder / "log").read_text())
            time.sleep(0.005)
        self.port = int(json.loads(found[0].read_text())["nats"][0].rpartition(":")[2])

    def end(self, number: int = signal.SIGKILL) -> None:
        """End it with a signal, and wait for that."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(number)
            process.wait(START_SECONDS)

    def freeze(self) -> None:
        """Stop it where it is; `thaw` has it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


def find_binary() -> str | None:
    """Return the program; Debian has it where ordinary users do not look."""
    return shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin:/usr/local/sbin")


@contextmanager
def nats_server(folder: Path, config: str = "") -> Iterator[NatsServer]:
    """Lend a server that runs until the block ends, on a port that the kernel chose.

    Raises:
        NoBroker: it is not installed.
    """
    server = NatsServer(folder, config)
    server.start()
    try:
        yield server
    finally:
        server.end()
