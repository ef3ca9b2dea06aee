"""A pooler in transaction mode, as far as a listener can tell: it swallows every notification."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

NOTIFICATION = b"A"


@asynccontextmanager
async def swallowing_notifications(dsn: str, folder: Path) -> AsyncIterator[str]:
    """Lend the address of a way to the same database on which no notification comes through."""
    target = socket_of(dsn)
    tasks: set[asyncio.Task[None]] = set()

    async def connect(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_unix_connection(target)
        for pump in (_copy(client, to_server), _copy_without_notifications(server, to_client)):
            tasks.add(asyncio.create_task(pump))

    listener = await asyncio.start_unix_server(connect, folder / ".s.PGSQL.5432")
    try:
        yield dsn.partition("?")[0] + f"?host={quote(str(folder))}"
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def socket_of(dsn: str) -> str:
    """Return the path of the socket that an address names."""
    query = parse_qs(urlsplit(dsn).query)
    return f"{query['host'][0]}/.s.PGSQL.{query.get('port', ['5432'])[0]}"


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            sink.write(data)
    finally:
        sink.close()


async def _copy_without_notifications(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await source.readexactly(5)
            kind, length = struct.unpack("!cI", head)
            body = await source.readexactly(length - 4)
            if kind != NOTIFICATION:
                sink.write(head + body)
    except asyncio.IncompleteReadError:
        pass
    finally:
        sink.close()
