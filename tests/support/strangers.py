"""Clients without a token on a raw socket, and which of our objects are in memory."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from flowcraft.core.session import Session
from flowcraft.viewers import Viewer
from tests.support.carriers import Stage, dedicated, mounted, on_uvicorn

KIB = 1024
MESSAGES = on_uvicorn("websockets-sansio", direct=False)
EVERY_CARRIER = {"dedicated": dedicated, "direct": mounted, "messages": MESSAGES}
OURS = {"dedicated": dedicated}
everywhere = pytest.mark.parametrize("carrier", EVERY_CARRIER.values(), ids=EVERY_CARRIER)
ours = pytest.mark.parametrize("carrier", OURS.values(), ids=OURS)
streams = pytest.mark.parametrize("carrier", [dedicated, mounted], ids=["dedicated", "asgi"])

HANDSHAKE = (
    b"GET /realtime HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
NO_TOKEN_YET = (4429, "at most 16 messages and 4096 bytes may wait before a token; send auth first")
UNDECIDED = (4429, "at most 256 messages and 262144 bytes may wait during a token check or guard")
AUTH = '{"auth":"t"}'


class Answering:
    """An authorizer that wants a token, and answers as `answer` does."""

    required = True

    def __init__(self, answer: Callable[[], Awaitable[Viewer]]) -> None:
        self._answer = answer
        self.asked = asyncio.Event()

    async def authenticate(self, token: str) -> Viewer:  # the port's
        self.asked.set()
        return await self._answer()


async def never() -> Viewer:
    await asyncio.Event().wait()
    raise AssertionError


async def for_an_hour() -> Viewer:
    return Viewer("ada", expires_at=10.0**11)


def framed(text: str, first: int = 0x81) -> bytes:
    """A frame as a client sends it, masked with zeros."""
    payload = text.encode()
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65_536:
        head = bytes((first, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0x80 | 127)) + size.to_bytes(8, "big")
    return head + bytes(4) + payload


def settle(size: int = 14) -> str:
    return '{"settle":"1"}' + " " * (size - 14)


def subscribing(size: int) -> str:
    """A subscription with as many short names as there is room for: what grows most when it is parsed."""
    names = ",".join(f'"a{n:05}"' for n in range((size - 20) // 9))
    return f'{{"subscribe":[{names}]}}'.ljust(size)


@asynccontextmanager
async def stranger(
    stage: Stage, request: bytes = HANDSHAKE, receive_buffer: int = 64 * KIB
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection whose handshake is over; it ends without a word, in time. Its kernel hides little."""
    url = urlsplit(stage.address)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (url.hostname, url.port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=4 * 1024 * KIB)
    writer.write(request)
    try:
        async with asyncio.timeout(30):
            if request is HANDSHAKE:
                await reader.readuntil(b'"hello":{')
            yield reader, writer
    finally:
        writer.transport.abort()


async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[int, str]:
    """Close a WebSocket that the server closes, and read to its end; return the server's code and reason."""
    everything = bytearray()
    with contextlib.suppress(ConnectionError):
        while b"\x88" not in everything and (data := await reader.read(65_536)):
            everything += data
    found = re.search(rb"\x88(.)(..)(.*)", everything, re.DOTALL)
    assert found is not None, f"never closed, after {bytes(everything[-200:])!r}"
    writer.write(framed("", 0x88))
    with contextlib.suppress(ConnectionError):
        await reader.read()
    return int.from_bytes(found[2], "big"), found[3][: found[1][0] - 2].decode()


def post(*lines: str, query: str = "", **headers: str) -> bytes:
    body = "\n".join(lines).encode()
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    start = f"POST /realtime/events{query} HTTP/1.1\r\nHost: here\r\n"
    head = f"{start}{fields}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Made:
    """The objects of some classes that were made while this watched, and are in memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *kinds: type[object]) -> None:
        self._made = weakref.WeakValueDictionary[int, object]()
        for kind in kinds:
            monkeypatch.setattr(kind, "__init__", self._noting(kind.__init__))

    def _noting(self, init: Callable[..., None]) -> Callable[..., None]:
        def noted(made: object, *args: Any, **named: Any) -> None:
            self._made[id(made)] = made
            init(made, *args, **named)

        return noted

    def names(self) -> list[str]:
        """Return the name of each object's class, sorted."""
        return sorted(type(made).__name__ for made in list(self._made.values()))

    def waiting_bytes(self) -> list[int]:
        """Return the waiting bytes of every session among them."""
        return [made.waiting_bytes for made in list(self._made.values()) if isinstance(made, Session)]
