"""Bench: measure how many clients and events a machine and its database carry."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import msgspec

from flowcraft.adapters.postgres.connections import connect
from flowcraft.adapters.postgres.retention import purge
from flowcraft.entrypoints.bench_app import CHANNEL
from flowcraft.testing.load_clients import LoadClients

PAYLOAD = f'{{"type":"Bench","pad":"{"x" * 150}"}}'
BURST = 10
PAUSE_SECONDS = 0.02
PATIENCE_SECONDS = 30.0
LOOK_SECONDS = 0.05
BROADCAST = "select flowcraft.broadcast($1::text, $2::text::json) from generate_series(1, $3)"
SERVE = ("-P", "-m", "flowcraft.entrypoints.cli", "serve", "flowcraft.entrypoints.bench_app:realtime")


class BenchFailed(Exception):
    """The measurement failed; the text has the reason."""


@dataclass(frozen=True, slots=True)
class ClientFigures:
    """The figures for one number of clients.

    `p50_ms` and `p99_ms` last from the reply to a commit until the last client has its event, on an idle
    server. Messages are events times clients, from transactions of ten events each, one after the other.
    """

    clients: int
    connects_per_s: float
    p50_ms: float
    p99_ms: float
    messages_per_s: float
    kb_per_client: float | None
    """None if unknown: the server is not ours, or the system is not Linux."""


@dataclass(frozen=True, slots=True)
class Installation:
    """The server that clients connect to, and the event that the bench broadcasts."""

    dsn: str
    url: str
    channel: str = CHANNEL
    payload: str = PAYLOAD
    token: str | None = None
    pid: int | None = None
    """The process of our own server; None for another server."""

    @property
    def address(self) -> str:
        """The URL with the channel in its query."""
        return f"{self.url}{'&' if '?' in self.url else '?'}channel={self.channel}"


async def require_log(dsn: str) -> None:
    """Check that the database has a log.

    Raises:
        BenchFailed: the database has no log.
        OSError: the database cannot be reached.
    """
    connection = await connect(dsn)
    try:
        if await connection.fetchval("select to_regprocedure('flowcraft.broadcast(text,json)')") is None:
            raise BenchFailed("this database has no log yet; run `flowcraft migrate`")
    finally:
        await connection.close()


async def bench(
    installation: Installation, clients: Sequence[int], seconds: float, progress: Callable[[str], None]
) -> list[ClientFigures]:
    """Measure with each number of clients, in rising order; `progress` gets a line for each step.

    Raises:
        BenchFailed: events were not delivered.
        LoadClientsRefused: the server refused a client.
    """
    publisher = await connect(installation.dsn)
    load = LoadClients(installation.address, token=installation.token)
    run = _Run(installation, load, publisher, seconds, progress)
    try:
        return [await run.step(count) for count in clients]
    finally:
        load.close()
        await publisher.close()


@asynccontextmanager
async def own_server(dsn: str, workers: int) -> AsyncIterator[Installation]:
    """Run a server with the channel of the bench until the block ends, then remove the events."""
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, *SERVE, "--port", "0", "--workers", str(workers)),
        env=os.environ | {"FLOWCRAFT_DSN": dsn},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert server.stdout is not None
        url = (await server.stdout.readline()).decode().strip()
        if not url:
            raise BenchFailed("the server did not start; run `flowcraft serve` to see why")
        await until_ready(url, workers)
        yield Installation(dsn, url, pid=server.pid if workers == 1 else None)
    finally:
        if server.returncode is None:
            server.terminate()
        await server.wait()
        await purge(dsn, [CHANNEL], dry_run=False)


class _Run:
    """One run of the bench."""

    def __init__(
        self,
        installation: Installation,
        load: LoadClients,
        publisher: asyncpg.Connection[asyncpg.Record],
        seconds: float,
        progress: Callable[[str], None],
    ) -> None:
        self._installation = installation
        self._load = load
        self._publisher = publisher
        self._seconds = seconds
        self._progress = progress
        self._idle_bytes = _resident(installation.pid)

    async def step(self, clients: int) -> ClientFigures:
        """Measure with this number of clients in total."""
        new = clients - len(self._load)
        self._progress(f"{clients:,} clients: connecting")
        connecting = await self._load.grow(clients)
        grown = _resident(self._installation.pid)
        self._progress(f"{clients:,} clients: one event at a time")
        waits = sorted([await self._round(1) async for _ in self._during(PAUSE_SECONDS)])
        self._progress(f"{clients:,} clients: {BURST} events at a time")
        began = time.monotonic()
        rounds = len([await self._round(BURST) async for _ in self._during(0)])
        took = time.monotonic() - began
        return ClientFigures(
            clients=clients,
            connects_per_s=new / connecting,
            p50_ms=1000 * statistics.median(waits),
            p99_ms=1000 * waits[int(0.99 * len(waits))],
            messages_per_s=rounds * BURST * clients / took,
            kb_per_client=None
            if grown is None or self._idle_bytes is None
            else (grown - self._idle_bytes) / 1024 / clients,
        )

    async def _during(self, pause: float) -> AsyncIterator[None]:
        end = time.monotonic() + self._seconds / 2
        while time.monotonic() < end:
            yield
            await asyncio.sleep(pause)

    async def _round(self, count: int) -> float:
        """Commit events; return the seconds from the database's reply until every client has all of them."""
        complete = self._load.expect(count * len(self._load))
        await self._publisher.execute(
            BROADCAST, self._installation.channel, self._installation.payload, count
        )
        committed = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await complete.wait()
        except TimeoutError:
            self._load.check()
            raise BenchFailed(
                f"some clients did not receive their events within {PATIENCE_SECONDS:.0f} s; does the server "
                "use this database, and does the payload fit the channel?"
            ) from None
        self._load.check()
        return time.monotonic() - committed


async def until_ready(url: str, workers: int) -> None:
    """Wait until every worker has reported that it is ready."""
    page = f"http{url.removeprefix('ws').removesuffix('/realtime')}/readyz"
    ready: set[int] = set()
    end = time.monotonic() + PATIENCE_SECONDS
    while len(ready) < workers:
        if time.monotonic() > end:
            raise BenchFailed("the server did not become ready; run `flowcraft serve` to see why")
        try:
            ready.add(await asyncio.to_thread(_ready_pid, page))
        except OSError:
            await asyncio.sleep(LOOK_SECONDS)


def _ready_pid(page: str) -> int:
    with urllib.request.urlopen(page, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310  # our own server's
        pid: int = msgspec.json.decode(answer.read())["pid"]
        return pid


def _resident(pid: int | None) -> int | None:
    """Return the resident memory of a process in bytes."""
    statm = Path(f"/proc/{pid}/statm")
    if pid is None or not statm.exists():
        return None
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
