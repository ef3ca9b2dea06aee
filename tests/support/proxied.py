"""Peers of a service, with the fault proxy between them and straight."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from faults.proxy import Address, FaultProxy


class Peer:
    """One end of a connection, that keeps what has come."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @property
    def name(self) -> object:
        """Where the other end is."""
        return self.writer.get_extra_info("peername")

    @property
    def own_name(self) -> object:
        return self.writer.get_extra_info("sockname")

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def receive(self, count: int) -> bytes:
        async with asyncio.timeout(10):
            return await self.reader.readexactly(count)

    async def ending(self) -> str:
        """Wait for the end of the stream, and tell which."""
        try:
            async with asyncio.timeout(10):
                return "eof" if await self.reader.read(1) == b"" else "data"
        except ConnectionResetError:
            return "reset"


class Service:
    """A server that accepts, and hands what it accepted to the test."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.accepted: asyncio.Queue[Peer] = asyncio.Queue()
        self.peers: list[Peer] = []

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peers.append(Peer(reader, writer))
        self.accepted.put_nowait(self.peers[-1])

    async def next(self) -> Peer:
        async with asyncio.timeout(10):
            return await self.accepted.get()


@asynccontextmanager
async def serving(path: Path | None = None) -> AsyncIterator[Service]:
    service = Service("")
    if path is None:
        server = await asyncio.start_server(service.take, "127.0.0.1", backlog=4096)
        service.address = server.sockets[0].getsockname()[:2]
    else:
        server = await asyncio.start_unix_server(service.take, path)
        service.address = str(path)
    try:
        yield service
    finally:
        server.close()
        for peer in service.peers:
            await closed(peer)


async def connect_straight(service: Service) -> Peer:
    assert not isinstance(service.address, str)
    host, port = service.address
    return Peer(*await asyncio.open_connection(host, port))


async def closed(peer: Peer) -> None:
    peer.writer.close()
    with suppress(OSError):
        await peer.writer.wait_closed()


class Clients:
    """Connections to a proxy, closed together."""

    def __init__(self, proxy: FaultProxy) -> None:
        self._proxy = proxy
        self.peers: list[Peer] = []

    async def connect(self) -> Peer:
        self.peers.append(Peer(*await asyncio.open_connection(self._proxy.host, self._proxy.port)))
        return self.peers[-1]


class Stage:
    """A service, the proxy before it, and clients."""

    def __init__(self, service: Service, proxy: FaultProxy) -> None:
        self.service = service
        self.proxy = proxy
        self._clients = Clients(proxy)

    async def connect(self) -> Peer:
        return await self._clients.connect()

    async def pair(self) -> tuple[Peer, Peer]:
        """Connect; return the client's end and the server's."""
        client = await self.connect()
        return client, await self.service.next()

    async def close(self) -> None:
        for peer in self._clients.peers:
            await closed(peer)


@asynccontextmanager
async def staged(path: Path | None = None) -> AsyncIterator[Stage]:
    async with serving(path) as service, FaultProxy.open(service.address, chance=random.Random(1)) as proxy:
        stage = Stage(service, proxy)
        try:
            yield stage
        finally:
            await stage.close()
