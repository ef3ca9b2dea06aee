"""A pooler in transaction mode: clients borrow one of few server connections for a transaction at a time."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

READY, TERMINATE = b"Z", b"X"
OF_THE_POOLER = b"K" + struct.pack("!III", 12, 666_666_666, 1)
"""A key to cancel by: as in PgBouncer it names no process of the server."""


async def _message(source: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Read a message; return its kind, and the whole of it."""
    head = await source.readexactly(5)
    return head[:1], head + await source.readexactly(struct.unpack("!I", head[1:])[0] - 4)


class _Backend:
    """A connection to the server. What it says while nobody borrows it is lost."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.client: asyncio.StreamWriter | None = None
        self.greeting = b""

    async def greet(self, startup: bytes) -> None:
        self.writer.write(startup)
        kind = b""
        while kind != READY:
            kind, message = await _message(self.reader)
            self.greeting += OF_THE_POOLER if kind == b"K" else message

    async def pump(self, idle: asyncio.Queue[_Backend]) -> None:
        with suppress(asyncio.IncompleteReadError), closing(self.writer):
            while True:
                kind, message = await _message(self.reader)
                if self.client is not None:
                    self.client.write(message)
                if kind == READY and message.endswith(b"I"):
                    self.client = None
                    idle.put_nowait(self)


class _Pooler:
    def __init__(self, target: str, size: int) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self._target = target
        self._unopened = size
        self._idle: asyncio.Queue[_Backend] = asyncio.Queue()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readexactly(4)
        startup = head + await reader.readexactly(struct.unpack("!I", head)[0] - 4)
        while self._unopened:
            self._unopened -= 1
            await self._open(startup)
        mine = await self._idle.get()
        self._idle.put_nowait(mine)
        writer.write(mine.greeting)
        borrowed: _Backend | None = None
        with suppress(asyncio.IncompleteReadError), closing(writer):
            while True:
                kind, message = await _message(reader)
                if kind == TERMINATE:
                    break
                if borrowed is None or borrowed.client is not writer:
                    borrowed = await self._idle.get()
                    borrowed.client = writer
                borrowed.writer.write(message)

    async def _open(self, startup: bytes) -> None:
        backend = _Backend(*await asyncio.open_unix_connection(self._target))
        await backend.greet(startup)
        self._idle.put_nowait(backend)
        self.tasks.add(asyncio.create_task(backend.pump(self._idle)))


@asynccontextmanager
async def pooling_transactions(dsn: str, folder: Path, size: int = 2) -> AsyncIterator[str]:
    """Lend the address of a pooler; its server connections take turns."""
    query = parse_qs(urlsplit(dsn).query)
    pooler = _Pooler(f"{query['host'][0]}/.s.PGSQL.{query.get('port', ['5432'])[0]}", size)
    listener = await asyncio.start_unix_server(pooler.serve, folder / ".s.PGSQL.5432")
    try:
        yield dsn.partition("?")[0] + f"?host={quote(str(folder))}"
    finally:
        listener.close()
        for task in pooler.tasks:
            task.cancel()
        await asyncio.gather(*pooler.tasks, return_exceptions=True)
