"""Measure: one subject under one load, server and load each on a core of its own."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from benchmarks.fanout.control import MESSAGE_BYTES
from benchmarks.fanout.subjects import BUILD, Subject
from benchmarks.machine import ROOT, free_port

ENDING_SECONDS = 10.0
SPARE_FILES = 200
LEAST_BYTES = MESSAGE_BYTES - 50
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Load:
    """How many clients, how many messages at a time, for how long."""

    clients: int
    burst: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.clients:,} clients, {self.burst} at a time"


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run gave. Processor time and memory are the server's."""

    messages_per_s: float
    user_us: float
    system_us: float
    kb_per_connection: float
    handshakes_per_s: float
    p50_ms: float
    p99_ms: float


class Failed(Exception):
    """A subject failed; the text describes its behaviour."""


def measure(subject: Subject, load: Load) -> Figures:
    """Start a server, load it, stop it.

    Raises:
        Failed: it does not start, or a message is missing.
    """
    port, control = free_port(), free_port()
    server = _start(
        [*subject.command, str(port), str(control), *subject.extra], core=0 if subject.pinned else None
    )
    try:
        pid = _until_ready(server)
        idle = _resident(pid)
        command = load_command(port, control, load, subject.path, *subject.hellos)
        client = _start(command, core=1 if subject.pinned else None)
        try:
            connected = _line(client)
            grown = _resident(pid) - idle
            before = _times(pid)
            assert client.stdin is not None
            client.stdin.write("go\n")
            client.stdin.flush()
            done = _line(client)
            user, system = (b - a for a, b in zip(before, _times(pid), strict=True))
        finally:
            client.kill()
            client.wait()
    finally:
        _end(server)
    return Figures(
        messages_per_s=done["messages"] / done["seconds"],
        user_us=1e6 * user / done["messages"],
        system_us=1e6 * system / done["messages"],
        kb_per_connection=grown / 1024 / load.clients,
        handshakes_per_s=connected["handshakes_per_s"],
        p50_ms=done["p50_ms"],
        p99_ms=done["p99_ms"],
    )


def load_command(port: int, control: int, load: Load, path: str, *hellos: str, missed: int = 0) -> list[str]:
    """How the load client is started; each client waits first for as many messages as it missed."""
    numbers = (port, control, load.clients, load.seconds, load.burst, LEAST_BYTES, missed)
    return [str(BUILD / "load"), *map(str, numbers), path, *hellos]


async def seconds_to_connect(command: list[str]) -> float:
    """Run the load client until every client has what it waits for; return how long that took."""
    client = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert client.stdout is not None
    found = json.loads(await client.stdout.readline())
    client.kill()
    await client.wait()
    return float(found["seconds"])


def prepare(clients: int) -> None:
    """Compile the floor and the load client, and see that so many clients can be had here.

    Raises:
        SystemExit: they cannot; the text names what is missing.
    """
    if sys.platform != "linux":
        raise SystemExit("this benchmark reads /proc and gives programs a core each: it is for Linux")
    if shutil.which("cc") is None:
        raise SystemExit("a C compiler is missing (Debian: apt install gcc libc6-dev)")
    allowed = _allow_many_files()
    if allowed < clients + SPARE_FILES:
        raise SystemExit(
            f"{clients:,} clients need as many open files, and {allowed:,} are allowed; see ulimit -Hn"
        )
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in ("floor", "load"):
        source = Path(__file__).with_name(f"{name}.c")
        subprocess.run(["cc", "-O2", "-o", str(BUILD / name), str(source)], check=True)


def _allow_many_files() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _start(command: list[str], core: int | None) -> subprocess.Popen[str]:
    cores = sorted(os.sched_getaffinity(0))
    wanted = set(cores) if core is None else {cores[core % len(cores)]}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # which is how all of it can be killed
        preexec_fn=lambda: os.sched_setaffinity(0, wanted),  # noqa: PLW1509  # before anything runs
    )


def _end(program: subprocess.Popen[str]) -> None:
    """Give a server the time to end what it started itself, now that it gets no more orders."""
    try:
        program.wait(ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(program.pid, signal.SIGKILL)
        program.wait()


def _until_ready(program: subprocess.Popen[str]) -> int:
    """Wait until a server listens; return the process to watch, which a wrapper names after `ready`."""
    line = _out(program).readline().split()
    if not line or line[0] != "ready":
        raise Failed(f"it printed {' '.join(line)!r} instead of 'ready'")
    return int(line[1]) if len(line) > 1 else program.pid


def _line(program: subprocess.Popen[str]) -> dict[str, Any]:
    line = _out(program).readline()
    if not line:
        raise Failed("the load client gave up")
    found: dict[str, Any] = json.loads(line)
    return found


def _out(program: subprocess.Popen[str]) -> IO[str]:
    assert program.stdout is not None
    return program.stdout


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def _times(pid: int) -> tuple[float, float]:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / _TICK, int(fields[12]) / _TICK
