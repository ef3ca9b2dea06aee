"""Broker: a real nats-server as a child process on a loopback port of its own, with its own folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from faults.programs import free_port

START_SECONDS = 10.0
JETSTREAM = "jetstream { store_dir: store, max_memory_store: 4GB, max_file_store: 4GB }"
"""A configuration with JetStream; its files are in the server's folder."""
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

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

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

    def keep(self, name: str) -> Path:
        """Copy one of its folders, while it does not run, and return where."""
        copy = self._folder / f"{name}-kept"
        shutil.rmtree(copy, ignore_errors=True)
        return shutil.copytree(self._folder / name, copy)

    def restore(self, name: str, kept: Path) -> None:
        """Put a folder back as it was, while it does not run."""
        shutil.rmtree(self._folder / name, ignore_errors=True)
        shutil.copytree(kept, self._folder / name)

    def freeze(self) -> None:
        """Stop it where it is; `thaw` has it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


def find_binary() -> str | None:
    """Return the program that NATS_SERVER names, or else the one that is installed, also by Debian."""
    return (
        os.environ.get("NATS_SERVER")
        or shutil.which("nats-server")
        or shutil.which("nats-server", path="/usr/sbin:/usr/local/sbin")
    )


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


@contextmanager
def nats_cluster(folder: Path, members: int = 3) -> Iterator[list[NatsServer]]:
    """Lend a cluster with JetStream.

    Raises:
        NoBroker: nats-server is not installed.
    """
    ports = [free_port() for _ in range(members)]
    routes = ", ".join([f"nats://127.0.0.1:{port}" for port in ports])
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                nats_server(
                    folder / f"member{number}",
                    f"server_name: member{number}\n{JETSTREAM}\n"
                    f'cluster {{ name: faults, listen: "127.0.0.1:{port}", routes: [{routes}] }}',
                )
            )
            for number, port in enumerate(ports)
        ]
