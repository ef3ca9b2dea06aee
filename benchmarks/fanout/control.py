"""Control: the port on which the load client sends `go <n>`, and what every server here sends then."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TypeAlias

MESSAGE_BYTES = 200
Go: TypeAlias = Callable[[int], Awaitable[None] | None]
"""Sends so many messages to everybody."""


def message(number: int) -> str:
    """An event of 200 bytes, as JSON."""
    head = f'{{"channel":"bench_update","payload":{{"row":7,"version":{number},"pad":"'
    return head + "x" * (MESSAGE_BYTES - len(head) - 3) + '"}}'


async def obey(port: int, go: Go, *, watched: int | None = None) -> None:
    """Accept orders until the load client disconnects; prints `ready` once it listens.

    What is measured is this process, or the one that is named: a server that this one starts.
    """
    ended = asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            result = go(int(line.split()[1]))
            if result is not None:
                await result
        writer.close()
        ended.set()

    server = await asyncio.start_server(take, "127.0.0.1", port)
    print("ready" if watched is None else f"ready {watched}", flush=True)
    async with server:
        await ended.wait()


def ports() -> tuple[int, int]:
    """The ports that the runner chose: for WebSockets and for orders."""
    return int(sys.argv[1]), int(sys.argv[2])
