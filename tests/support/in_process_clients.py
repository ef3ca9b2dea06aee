"""A program: httpx-ws and the clients of Channels, which call an application in their own event loop."""

# What it imports is installed beside the servers of `tests/support/hosts.py` only.
# mypy: ignore-errors
# pyright: basic, reportMissingImports=false, reportMissingModuleSource=false

from __future__ import annotations

import asyncio
import json
from typing import Any

from asgi_lifespan import LifespanManager
from channels.testing import HttpCommunicator, WebsocketCommunicator
from fastapi import FastAPI
from httpx import AsyncClient
from httpx_ws import aconnect_ws
from httpx_ws.transport import ASGIWebSocketTransport

from flowcraft import Channels, Event, Realtime, Settings
from flowcraft.adapters.memory import MemoryBackend


class Noted(Event):
    """A number."""

    n: int


channels = Channels()
note_update = channels.declare("note_update", Noted)


def applications(realtime: Realtime) -> list[tuple[str, Any]]:
    """Ours around an application, inside of one, and alone; each with the path of its WebSocket."""
    api = FastAPI()
    api.mount("/live", realtime.asgi())
    return [("/live", realtime.asgi(FastAPI(), path="/live")), ("/live/", api), ("/", realtime.asgi())]


async def with_httpx_ws(realtime: Realtime, app: Any, path: str) -> None:
    for n in range(2):
        async with (
            ASGIWebSocketTransport(app) as transport,
            AsyncClient(transport=transport, base_url="http://here") as http,
            aconnect_ws(f"http://here{path}?channel=note_update", http) as client,
        ):
            assert "hello" in await client.receive_json()
            assert "subscribed" in await client.receive_json()
            await realtime.broadcast(note_update, Noted(n=n))
            while "payload" not in (frame := await client.receive_json()):
                pass
            assert frame["payload"]["n"] == n


async def with_channels(realtime: Realtime, app: Any, path: str) -> None:
    client = WebsocketCommunicator(app, f"{path}?channel=note_update")
    assert (await client.connect(timeout=10))[0]
    assert "hello" in await client.receive_json_from(timeout=10)
    assert "subscribed" in await client.receive_json_from(timeout=10)
    await realtime.broadcast(note_update, Noted(n=7))
    while "payload" not in (frame := await client.receive_json_from(timeout=10)):
        pass
    assert frame["payload"]["n"] == 7
    await client.disconnect()
    asking = HttpCommunicator(app, "GET", f"{path.rstrip('/')}/readyz", headers=[(b"host", b"here")])
    page: Any = await asking.get_response(timeout=10)
    assert page["status"] == 200
    assert json.loads(page["body"])["state"] == "live"


async def main() -> None:
    realtime = Realtime(channels, backend=MemoryBackend(), settings=Settings(drain_seconds=0.01))
    for path, app in applications(realtime):
        for served in (with_httpx_ws, with_channels):
            await served(realtime, app, path)
        await realtime.stop()
        async with LifespanManager(app) as managed:
            for served in (with_httpx_ws, with_channels):
                await served(realtime, managed.app, path)
    await realtime.stop()


if __name__ == "__main__":
    for _ in range(2):
        asyncio.run(main())
    print("all served")
