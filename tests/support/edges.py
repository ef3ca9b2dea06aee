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
from flowcraft.records import Batch, Ephemeral
from flowcraft.settings import Settings

_systems = itertools.count(os.getpid() * 100_000)
SECONDS = 10.0


def fresh_lineage() -> Lineage:
    """A lineage of a system that no other test has: tests share a server of NATS."""
    return Lineage(next(_systems), 1, 0, 5)


def address_of(url: str, lineage: Lineage) -> str:
    servers, mark, query = url.partition("?")
    return f"{servers}/{lineage.system}.{lineage.database}{mark}{query}"


def with_stream(url: str, **options: object) -> str:
    """An address with a stream that no other test has; a server reserves the bytes of all of its streams."""
    query = "&".join([f"{name}={value}" for name, value in {"bytes": 8 * 1024 * 1024, **options}.items()])
    return f"{url}?stream=test{next(_systems)}&{query}"


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


class Following:
    """Reads an edge as a node does, and counts what it asks."""

    def __init__(self, parts: EdgeParts, start: Batch) -> None:
        self.parts = parts
        self._batch = start
        self.received: list[str] = []
        self._task = asyncio.create_task(self._follow())

    @classmethod
    @asynccontextmanager
    async def on(cls, parts: EdgeParts) -> AsyncIterator[Following]:
        await parts.log.position()  # from now on it is connected, and the next position is its last question
        following = cls(parts, await parts.log.position())
        try:
            yield following
        finally:
            following._task.cancel()

    async def until(self, count: int) -> list[str]:
        async with asyncio.timeout(SECONDS):
            while len(self.received) < count:  # noqa: ASYNC110  # filled by a task that runs beside
                await asyncio.sleep(0.01)
        return self.received

    async def _follow(self) -> None:
        while True:
            await self.parts.edge.wait()
            try:
                self._batch = await self.parts.log.tail(self._batch.cursor)
            except LogUnavailable:
                continue
            self.received += [record.payload for record in self._batch.records]


def written(log: MemoryLog, first: int, last: int) -> None:
    for number in range(first, last + 1):
        log.broadcast("runs.1", f'"{number}"')


def numbers(first: int, last: int) -> list[str]:
    return [f'"{number}"' for number in range(first, last + 1)]


async def until_it_is(holds: Callable[[], bool | None]) -> None:
    async with asyncio.timeout(3 * SECONDS):
        while not holds():  # noqa: ASYNC110  # it has no event
            await asyncio.sleep(0.02)
