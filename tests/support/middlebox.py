"""A middlebox: passes requests and handshakes of WebSockets, and not their frames, as some filters do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from enum import Enum
from urllib.parse import urlsplit, urlunsplit


class Passes(Enum):
    """What passes of a WebSocket after its handshake."""

    ALL = "all"
    NOTHING = "nothing"
    FROM_SERVER = "the server's frames"
    FROM_CLIENT = "the client's frames"
    END = "the end of the connection"
    END_AT_A_FRAME = "the server's frames until one of the client, and then the end"


@asynccontextmanager
async def middlebox(address: str, passes: Passes) -> AsyncIterator[str]:
    """Stand before a server; yield the address there that leads to it."""
    url = urlsplit(address)

    async def handle(near: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
        far, to_far = await asyncio.open_connection(url.hostname, url.port)
        try:
            request = await near.readuntil(b"\r\n\r\n")
            to_far.write(request)
            what = Passes.ALL
            if b"sec-websocket-key:" in request.lower():
                to_near.write(await far.readuntil(b"\r\n\r\n"))
                what = passes
            await _until_one_ends(_upwards(what, near, to_far), _downwards(what, far, to_near))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            to_near.close()
            to_far.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield urlunsplit(url._replace(netloc=f"127.0.0.1:{server.sockets[0].getsockname()[1]}"))
    finally:
        server.close()


async def _upwards(passes: Passes, near: asyncio.StreamReader, to_far: asyncio.StreamWriter) -> None:
    while passes is not Passes.END and (received := await near.read(65536)):
        if passes is Passes.END_AT_A_FRAME:
            return
        if passes in (Passes.ALL, Passes.FROM_CLIENT):
            to_far.write(received)


async def _downwards(passes: Passes, far: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
    while received := await far.read(65536):
        if passes not in (Passes.NOTHING, Passes.FROM_CLIENT, Passes.END):
            to_near.write(received)


async def _until_one_ends(*both: Awaitable[None]) -> None:
    tasks = [asyncio.ensure_future(one) for one in both]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
