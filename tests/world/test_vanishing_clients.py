"""Clients that vanish, on every ASGI server: at any moment, and no server logs an error of ours."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.carriers.test_carriers import frame, opened
from tests.support.hosts import HOSTS, Hosted, hosted, hosts_environment

pytestmark = [pytest.mark.world, pytest.mark.timeout(300)]
APP = "tests.support.on_uvicorn:app"
SERVERS = ["uvicorn", "gunicorn with uvicorn's worker", "hypercorn", "daphne", "granian"]
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing resets the connection."""
HANDSHAKE = (
    "GET /live?channel=ping_update HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
STREAM = "GET /live/events?channel=ping_update HTTP/1.1\r\nHost: here\r\n\r\n"
HALF_A_BODY = "POST /live/events HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n\r\n{"
WHENS = {"at once": b"", "after the head": b"\r\n\r\n", "while it is sent to": b"subscribed"}


@pytest.fixture(scope="module", autouse=True)
def _environment() -> None:
    hosts_environment()


async def vanishing(served: Hosted, request: str, until: bytes) -> None:
    """Send a request, read until some bytes have come, and reset the connection in the middle of more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    found: socket.socket = writer.get_extra_info("socket")
    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.write(request.encode())
    if until:
        async with asyncio.timeout(20):
            await reader.readuntil(until)
    if until == b"subscribed":
        async with httpx.AsyncClient(timeout=30) as http:
            await asyncio.gather(http.get(f"http://{served.address}/emit"), reader.read(1000))
    writer.transport.abort()


@pytest.mark.parametrize("name", SERVERS)
async def test_clients_that_vanish_leave_no_error(name: str, tmp_path: Path) -> None:
    async with hosted(HOSTS[name].replace("-w 2", "-w 1"), APP, tmp_path, DRAIN_SECONDS="0.5") as served:
        async with connect(f"ws://{served.address}/live") as client:
            await opened(client, "ping_update")
            for until in WHENS.values():
                requests = (HANDSHAKE, STREAM) if until else (HANDSHAKE, STREAM, HALF_A_BODY)
                for request in requests:
                    await asyncio.gather(*[vanishing(served, request, until) for _ in range(5)])
            async with httpx.AsyncClient(timeout=30) as http:
                assert (await http.get(f"http://{served.address}/emit")).is_success
            while "payload" not in await frame(client):
                pass
            async with httpx.AsyncClient(timeout=30) as http, asyncio.timeout(30):
                while (await http.get(f"http://{served.address}/live/readyz")).json()["connections"] > 1:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)  # until the server has noticed all of them
        served.process.terminate()
        await served.process.wait()
    assert not re.search("Traceback|ERROR|Exception|never retrieved", served.log), served.log[-6000:]
