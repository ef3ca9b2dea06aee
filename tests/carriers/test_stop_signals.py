"""A stop signal drains the clients first and then reaches the server, however the server handles signals."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
every_way = pytest.mark.parametrize(
    ("how", "loop"), [(how, loop) for how in ("loop", "python") for loop in ("asyncio", "uvloop")]
)


class Host:
    """The program, and the lines that it has written."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def until(self, *lines: str) -> None:
        """Read until each of the lines has come."""
        while not set(lines) <= set(self.lines):
            await self.read()

    async def until_one(self, *lines: str) -> str:
        """Read until one of the lines has come, and return it."""
        while not (found := set(lines) & set(self.lines)):
            await self.read()
        return found.pop()

    async def read(self) -> None:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        assert line, self.lines
        self.lines.append(line.decode().rstrip())


@asynccontextmanager
async def hosting(how: str, loop: str, drain_seconds: float) -> AsyncIterator[Host]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.stopping_host", how, loop, str(drain_seconds)),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": "src:."},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        host = Host(process)
        await host.until("websocket subscribed cursor n", "stream subscribed cursor n")
        yield host
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
@every_way
async def test_the_server_stops_after_the_clients_were_sent_away(
    how: str, loop: str, number: signal.Signals
) -> None:
    async with hosting(how, loop, 0.2) as host:
        if how == "loop":
            host.process.send_signal(signal.SIGUSR1)
            await host.until("another signal")
        host.process.send_signal(number)
        await host.until("threads 1")
        assert await host.process.wait() == 0
        after = host.lines[host.lines.index("websocket bye") :]
        assert sorted(after[:4]) == [
            "stream bye",
            "stream code reason",
            "websocket bye",
            "websocket closed 1012",
        ]
        assert after[4:] == [f"{how}'s handler {int(number)}", "stops with 0 open", "threads 1"]


@every_way
async def test_a_second_signal_reaches_the_server_at_once(how: str, loop: str) -> None:
    async with hosting(how, loop, 1000.0) as host:
        byes = {"websocket bye", "stream bye"}
        host.process.terminate()
        first = await host.until_one(*byes)  # that of the connection which was there first
        host.process.send_signal(signal.SIGINT)
        await host.until(f"{how}'s handler {int(signal.SIGINT)}", "threads 1")
        assert byes & set(host.lines) == {first}


async def test_where_no_server_handles_signals_none_is_handled() -> None:
    async with hosting("nothing", "asyncio", 1000.0) as host:
        host.process.terminate()
        assert await host.process.wait() == -signal.SIGTERM
