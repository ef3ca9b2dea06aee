"""Load clients: thousands of WebSocket clients in one process that only count the events they receive."""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import time
from typing import cast
from urllib.parse import urlsplit

import msgspec

from flowcraft.adapters.sockets import frame

AT_ONCE = 200
"""The number of connections that open at the same time."""
_EVENT, _SUBSCRIBED, _ERROR = b'{"channel":', b'{"subscribed":', b'{"error":'
_CLOSE, _PING = 0x8, 0x9
_END_OF_LINE = b"\r\n"
_PONG = bytes((0x8A, 0x80, 0, 0, 0, 0))


class LoadClientsRefused(Exception):
    """A client could not connect, or was closed; the text has the server's response."""


class LoadClients:
    """Clients of one address with the channel in its query. They count until `close`."""

    def __init__(self, url: str, *, token: str | None = None) -> None:
        parts = urlsplit(url)
        self._tls = ssl.create_default_context() if parts.scheme == "wss" else None
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or (443 if self._tls else 80)
        target = f"{parts.path or '/'}?{parts.query}"
        key = base64.b64encode(os.urandom(16)).decode()
        self._request = (
            f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode()
        self._first = b"" if token is None else _masked(msgspec.json.encode({"auth": token}))
        self._clients: set[_Client] = set()
        self._received = 0
        self._wanted = 0
        self._complete = asyncio.Event()
        self._refusal: str | None = None

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def received(self) -> int:
        """The number of events that all clients together received."""
        return self._received

    async def grow(self, to: int) -> float:
        """Connect clients until this many are subscribed; return the seconds that it took.

        Raises:
            LoadClientsRefused: the server refused a client.
            OSError: the server cannot be reached, or this process may not open so many files.
        """
        began = time.monotonic()
        missing = to - len(self._clients)
        connecting = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for _ in range(missing):
                await connecting.acquire()
                task = group.create_task(self._connect())
                task.add_done_callback(lambda _: connecting.release())
        return time.monotonic() - began

    def expect(self, events: int) -> asyncio.Event:
        """Return an asyncio.Event, set once all clients together have received this many more events."""
        self._wanted = self._received + events
        self._complete.clear()
        return self._complete

    def close(self) -> None:
        """Disconnect all clients."""
        for client in tuple(self._clients):
            client.close()

    def check(self) -> None:
        """Check that no client was closed.

        Raises:
            LoadClientsRefused: the server closed a client.
        """
        if self._refusal is not None:
            raise LoadClientsRefused(self._refusal)

    def count(self, events: int) -> None:
        """Count events that a client has received."""
        self._received += events
        if self._received >= self._wanted:
            self._complete.set()

    def lost(self, client: _Client, why: str | None) -> None:
        """Remove a client whose connection ended; `why` is None if `close` ended it."""
        self._clients.discard(client)
        if why is not None:
            self._refusal = why
            self._complete.set()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(
            lambda: _Client(self, self._request, self._first), self._host, self._port, ssl=self._tls
        )
        self._clients.add(client)
        await client.subscribed
        self.check()


class _Client(asyncio.Protocol):
    """The connection of one client."""

    def __init__(self, clients: LoadClients, request: bytes, first: bytes) -> None:
        self.subscribed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._owner = clients
        self._request = request
        self._first = first
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._open = False
        self._closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        if not self._open:
            head, end, data = data.partition(2 * _END_OF_LINE)
            if not end:
                self._rest = head
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self._end(f"the server answered {head.partition(_END_OF_LINE)[0].decode(errors='replace')}")
                return
            self._open = True
            self._write(self._first)
        self._rest = self._take(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(str(exc) if exc else "the connection ended")

    def close(self) -> None:
        """Disconnect this client."""
        self._closed = True
        if self._transport is not None:
            self._transport.close()

    def _take(self, data: bytes) -> bytes:
        """Read all complete frames; return the remaining bytes."""
        at, events, there = 0, 0, len(data)
        while there - at >= 2:
            begin, length = at + 2, data[at + 1] & 0x7F
            if length > 125:
                size = 2 if length == 126 else 8
                length, begin = int.from_bytes(data[begin : begin + size], "big"), begin + size
            if begin + length > there:
                break
            if data.startswith(_EVENT, begin):
                events += 1
            else:
                self._control(data[at] & 0xF, data[begin : begin + length])
            at = begin + length
        if events:
            self._owner.count(events)
        return data[at:]

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == _PING:
            self._write(_PONG)
        elif opcode == _CLOSE:
            code = int.from_bytes(payload[:2], "big")
            self._end(f"the server closed a connection: {code} {payload[2:].decode(errors='replace')}")
        elif payload.startswith(_ERROR):
            self._end(f"the server refused the subscription: {payload.decode(errors='replace')}")
        elif payload.startswith(_SUBSCRIBED) and not self.subscribed.done():
            self.subscribed.set_result(None)

    def _end(self, why: str) -> None:
        self._owner.lost(self, None if self._closed else why)
        self.close()
        if not self.subscribed.done():
            self.subscribed.set_result(None)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


def _masked(payload: bytes) -> bytes:
    """Return a client's text frame; its masking key is zero."""
    unmasked = frame(payload)
    head = len(unmasked) - len(payload)
    return bytes((unmasked[0], unmasked[1] | 0x80)) + unmasked[2:head] + bytes(4) + payload
