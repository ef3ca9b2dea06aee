"""Ways to a database that lose something: a pooler that swallows notifications, a network gone silent."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias
from urllib.parse import parse_qs, quote, urlsplit

NOTIFICATION = b"A"
Copy: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def swallowing_notifications(dsn: str, folder: Path) -> AsyncIterator[str]:
    """Lend the address of a way on which no notification comes through, as in a pooler's transaction mode."""
    async with _proxied(dsn, folder, _copy, _copy_without_notifications) as address:
        yield address


class Gate:
    """Lets bytes pass, or holds them up without a word."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()

    def open(self) -> None:
        self._open.set()

    def close(self) -> None:
        self._open.clear()

    def open_for_new_ones(self) -> None:
        """Let new connections pass. Those that were held up stay so for ever."""
        self._open = asyncio.Event()
        self._open.set()

    async def copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        way = self._open
        while data := await source.read(65536):
            await way.wait()
            sink.write(data)


@asynccontextmanager
async def gated(dsn: str, folder: Path) -> AsyncIterator[tuple[str, Gate]]:
    """Lend the address of a way with a gate in it."""
    gate = Gate()
    async with _proxied(dsn, folder, gate.copy, gate.copy) as address:
        yield address, gate


@asynccontextmanager
async def _proxied(dsn: str, folder: Path, forth: Copy, back: Copy) -> AsyncIterator[str]:
    query = parse_qs(urlsplit(dsn).query)
    target = f"{query['host'][0]}/.s.PGSQL.{query.get('port', ['5432'])[0]}"
    tasks: set[asyncio.Task[None]] = set()

    async def pump(copy: Copy, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            await copy(source, sink)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            sink.close()

    async def connect(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_unix_connection(target)
        tasks.add(asyncio.create_task(pump(forth, client, to_server)))
        tasks.add(asyncio.create_task(pump(back, server, to_client)))

    listener = await asyncio.start_unix_server(connect, folder / ".s.PGSQL.5432")
    try:
        yield dsn.partition("?")[0] + f"?host={quote(str(folder))}"
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        sink.write(data)


async def _copy_without_notifications(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while True:
        head = await source.readexactly(5)
        kind, length = struct.unpack("!cI", head)
        body = await source.readexactly(length - 4)
        if kind != NOTIFICATION:
            sink.write(head + body)
