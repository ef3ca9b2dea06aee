"""Every carrier keeps the promise of `carrier_ports.Connection`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from flowcraft.adapters.asgi import AsgiApp, Receive, Scope, Send, serve_websocket
from flowcraft.adapters.asgi_event_stream import serve_event_stream
from flowcraft.adapters.request_socket import AcceptQueue
from flowcraft.adapters.websocket import WebSocketConnection
from flowcraft.carrier_ports import NodePort
from flowcraft.testing.contracts import CarrierClient, ConnectionContract
from flowcraft.testing.contracts.connection import OpenCarrier


class TestWebSocketConnection(ConnectionContract):
    @pytest.fixture
    def open_carrier(self) -> OpenCarrier:
        return websocket_of_the_dedicated_server


class TestEventStreamConnection(ConnectionContract):
    @pytest.fixture
    def open_carrier(self) -> OpenCarrier:
        return event_stream_of_the_dedicated_server


class TestAsgiConnection(ConnectionContract):
    @pytest.fixture
    def open_carrier(self) -> OpenCarrier:
        return websocket_over_asgi


class TestAsgiEventStream(ConnectionContract):
    @pytest.fixture
    def open_carrier(self) -> OpenCarrier:
        return event_stream_over_asgi


@asynccontextmanager
async def websocket_of_the_dedicated_server(node: NodePort) -> AsyncIterator[CarrierClient]:
    async with dedicated(node) as port, a_websocket(port) as client:
        yield client


@asynccontextmanager
async def event_stream_of_the_dedicated_server(node: NodePort) -> AsyncIterator[CarrierClient]:
    async with dedicated(node) as port, an_event_stream(port) as client:
        yield client


@asynccontextmanager
async def websocket_over_asgi(node: NodePort) -> AsyncIterator[CarrierClient]:
    async with over_asgi(node) as port, a_websocket(port) as client:
        yield client


@asynccontextmanager
async def event_stream_over_asgi(node: NodePort) -> AsyncIterator[CarrierClient]:
    async with over_asgi(node) as port, an_event_stream(port) as client:
        yield client


# Servers


@asynccontextmanager
async def dedicated(node: NodePort) -> AsyncIterator[int]:
    queue = AcceptQueue()
    server = await asyncio.get_running_loop().create_server(
        lambda: WebSocketConnection(node, "/realtime", lambda _path, _headers: None, queue), "127.0.0.1", 0
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def over_asgi(node: NodePort) -> AsyncIterator[int]:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        serve = serve_websocket if scope["type"] == "websocket" else serve_event_stream
        await serve(scope, receive, send, node)

    async with on_uvicorn(app) as port:
        yield port


@asynccontextmanager
async def on_uvicorn(app: AsgiApp) -> AsyncIterator[int]:
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="critical", ws="websockets-sansio"))
    serving = asyncio.create_task(server.serve([listening]))
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        await serving


# Clients


class WebSocketClient:
    """Reads one message ahead; the rest waits in the kernel, and then with the server."""

    def __init__(self, client: ClientConnection) -> None:
        self._client = client

    async def send(self) -> str:
        await self._client.send('{"settle":"1"}')
        return '{"settle":"1"}'

    async def receive(self) -> bytes:
        return await self._client.recv(decode=False)

    async def until_closed(self) -> int:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self._client.recv()
        return self._client.close_code or 0

    async def abort(self) -> None:
        self._client.transport.abort()


class EventStreamClient:
    """Reads the lines of the stream, one message at a time, and passes over those between chunks of HTTP."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self) -> str:
        return '{"subscribe":["runs.1"]}'  # the request contained it

    async def receive(self) -> bytes:
        while True:
            line = await self._reader.readline()
            assert line, "the stream has ended"
            if line.startswith(b"data: "):
                return line.removeprefix(b"data: ").rstrip()

    async def until_closed(self) -> int:
        while await self._reader.readline() != b"event: close\n":
            assert not self._reader.at_eof(), "the stream has ended without a reason"
        code: int = json.loads(await self.receive())["code"]
        return code

    async def abort(self) -> None:
        self._writer.transport.abort()


@asynccontextmanager
async def a_websocket(port: int) -> AsyncIterator[CarrierClient]:
    address = f"ws://127.0.0.1:{port}/realtime"
    client = await connect(address, max_size=None, max_queue=1, compression=None, close_timeout=0)
    try:
        yield WebSocketClient(client)
    finally:
        client.transport.abort()


@asynccontextmanager
async def an_event_stream(port: int) -> AsyncIterator[CarrierClient]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=256 * 1024)
    writer.write(b"GET /realtime/events?channel=runs.1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    try:
        await reader.readuntil(b"retry: 1000\n\n")
        yield EventStreamClient(reader, writer)
    finally:
        writer.transport.abort()
