"""uvicorn with our class for WebSockets: paths it learns, paths that are others', and how it ends."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, WebSocket
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from flowcraft.adapters.memory import MemoryLog, MemoryWakeups
from flowcraft.adapters.uvicorn import give_back
from flowcraft.channels import Channels
from flowcraft.entrypoints.asgi import RealtimeApp
from flowcraft.runtime.clock import SystemClock
from flowcraft.runtime.node import Node
from flowcraft.settings import Settings

pytestmark = pytest.mark.asyncio


class Started:
    """A node that is started with its application; `taken` counts what came through the application."""

    def __init__(self) -> None:
        log = MemoryLog()
        settings = Settings(drain_seconds=0.05)
        self.node = Node(
            Channels(), log, MemoryWakeups(log), settings=settings, authorizer=None, clock=SystemClock()
        )
        self.taken = 0
        self._runs = False

    async def start(self) -> Node:
        if not self._runs:
            self._runs = True
            self.node.start()
        self.taken += 1
        return self.node

    async def stop(self) -> None:
        give_back(self.node)
        await self.node.stop()


@asynccontextmanager
async def serving(started: Started) -> AsyncIterator[tuple[str, uvicorn.Server]]:
    """FastAPI with a WebSocket of its own, and ours mounted beside it."""
    app = FastAPI()

    @app.get("/")
    async def root() -> str:
        return "hello"

    @app.websocket("/echo")
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())

    app.mount("/live", RealtimeApp(started, None, "/"))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="error", ws="flowcraft.adapters.uvicorn:WebSockets")
    )
    task = asyncio.create_task(server.serve([listener]))
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}", server
    finally:
        server.should_exit = True
        await task
        await started.stop()


async def hello(client: ClientConnection) -> dict[str, Any]:
    frame: dict[str, Any] = json.loads(await client.recv())
    return frame


async def test_a_mounted_path_is_ours_from_its_second_client_on() -> None:
    started = Started()
    async with serving(started) as (place, _):
        for times in (1, 1, 1):
            async with connect(f"ws://{place}/live/") as client:
                assert "hello" in await hello(client)
            assert started.taken == times


async def test_other_paths_are_left_to_uvicorn() -> None:
    started = Started()
    async with serving(started) as (place, _), httpx.AsyncClient() as http:
        async with connect(f"ws://{place}/live/"):
            pass
        async with connect(f"ws://{place}/echo") as client:
            await client.send("anybody?")
            assert await client.recv() == "anybody?"
        assert (await http.get(f"http://{place}/")).json() == "hello"


async def test_clients_hear_bye_when_uvicorn_ends() -> None:
    async with serving(Started()) as (place, server):
        async with connect(f"ws://{place}/live/"):
            pass
        async with connect(f"ws://{place}/live/") as client:
            assert "hello" in await hello(client)
            server.should_exit = True
            assert "bye" in await hello(client)
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert client.close_code == 1012
