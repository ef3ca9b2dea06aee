"""Relays and edges in this process, over a real nats-server."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from flowcraft.adapters.memory import MemoryBackend, MemoryLog
from flowcraft.adapters.nats.address import LogAddress
from flowcraft.adapters.nats.backend import NatsBackend
from flowcraft.adapters.nats.edge import Edge, EdgeLog
from flowcraft.channels import Channels
from flowcraft.cursors import Lineage
from flowcraft.entrypoints.relaying import RelayServer
from flowcraft.errors import LogUnavailable
from flowcraft.ports import Backend, BackendContext
from flowcraft.records import Ephemeral
from flowcraft.settings import Settings

_systems = itertools.count(os.getpid() * 100_000)
SECONDS = 10.0


def fresh_lineage() -> Lineage:
    """A lineage of a system that no other test has: tests share a server of NATS."""
    return Lineage(next(_systems), 1, 0, 5)


def address_of(url: str, lineage: Lineage) -> str:
    return f"{url}/{lineage.system}.{lineage.database}"


@asynccontextmanager
async def running(
    run: Callable[[], Coroutine[object, object, None]], *, again: bool = True
) -> AsyncIterator[None]:
    """Run a task until the block ends; with `again`, once more after each `LogUnavailable`."""

    async def keep() -> None:
        while True:
            with suppress(LogUnavailable):
                await run()
            if not again:
                return
            await asyncio.sleep(0.05)

    task = asyncio.create_task(keep())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def relay(
    url: str, backend: Backend, channels: Channels | None = None, settings: Settings | None = None
) -> AsyncIterator[RelayServer]:
    """A relay that leads."""
    server = RelayServer(channels or Channels(), backend, LogAddress.parse(url), settings, first_seconds=0.01)
    async with running(server.run):
        async with asyncio.timeout(SECONDS):
            await server.led.wait()
        yield server


@dataclass(frozen=True)
class EdgeParts:
    edge: Edge
    log: EdgeLog
    ephemeral: list[Ephemeral]


@asynccontextmanager
async def edge(
    url: str, channels: Channels | None = None, settings: Settings | None = None
) -> AsyncIterator[EdgeParts]:
    """The parts of an edge, connected."""
    events: list[Ephemeral] = []
    context = BackendContext(channels or Channels(), settings or Settings(), events.append, lambda _: None)
    backend = NatsBackend(url)
    backend.open(context)
    made = backend.edge
    assert made is not None
    async with running(made.run):
        yield EdgeParts(made, EdgeLog(made), events)


def memory_backend(log: MemoryLog | None = None) -> MemoryBackend:
    return MemoryBackend(log or MemoryLog(lineage=fresh_lineage()))
