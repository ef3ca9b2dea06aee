"""Floods: what one client that sends as much as it can costs another, on the dedicated server and on uvicorn.

Other ASGI servers parse a flood before this package sees it, and no interface lets it read less.
"""

from __future__ import annotations

import asyncio
import json
import resource
import struct
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import connect

from flowcraft import Settings
from tests.support.carriers import OpenStage, Stage, dedicated, mounted, on_uvicorn

EVERY_CARRIER = {
    "dedicated": dedicated,
    "direct": mounted,
    "direct by websockets": on_uvicorn("websockets"),
    "messages": on_uvicorn("websockets-sansio", direct=False),
    "messages by wsproto": on_uvicorn("wsproto", direct=False),
    "messages by websockets": on_uvicorn("websockets", direct=False),
}
MIB = 1024 * 1024
LONGEST_STALL_SECONDS = 0.25
MOST_MEMORY = 10 * MIB
SECONDS = 3.0
pytestmark = [pytest.mark.world, pytest.mark.timeout(120)]

FLOOD = """
import socket, sys, time
port, path, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
data = open(path, "rb").read()
head, data = data.split(b"\\r\\n\\r\\n", 1)
end = time.monotonic() + seconds
while time.monotonic() < end:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(0.2)
        try:
            client.sendall(head + b"\\r\\n\\r\\n")
            while time.monotonic() < end:
                client.sendall(data)
        except OSError:
            pass
"""
"""Sends over and over, reads nothing, and connects again when it is closed."""


def masked(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    length = struct.pack("!B", 0x80 | size) if size < 126 else struct.pack("!BH", 0xFE, size)
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


def subscription(names: int) -> bytes:
    return json.dumps({"subscribe": [f"a.{n}" for n in range(names)]}, separators=(",", ":")).encode()


TEXT, PING = 1, 9
FLOODS = {
    "empty messages": masked(TEXT, b"") * 10_000,
    "no JSON": masked(TEXT, b"x") * 10_000,
    "settles": masked(TEXT, b'{"settle":"1"}') * 5000,
    "messages of 7,000 names": masked(TEXT, subscription(7000)) * 20,
    "messages of 256 names": masked(TEXT, subscription(256)) * 200,
    "unsubscribes": masked(TEXT, b'{"unsubscribe":["ping_update"]}') * 5000,
    "tokens": masked(TEXT, b'{"auth":"a.b.c"}') * 5000,
    "long messages": masked(TEXT, b'{"settle":"1"}' + b" " * 60_000) * 200,
    "pings": masked(PING, b"x" * 125) * 20_000,
    "empty pings": masked(PING, b"") * 50_000,
}


def write_flood(stage: Stage, data: bytes, folder: Path) -> None:
    """Write what is sent to a file: not into the memory that is measured."""
    url = urlsplit(stage.address)
    head = (
        f"GET /realtime HTTP/1.1\r\nHost: {url.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    (folder / "flood").write_bytes(head.encode() + data)


@asynccontextmanager
async def flooded(stage: Stage, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    url = urlsplit(stage.address)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FLOOD, str(url.port), str(folder / "flood"), str(SECONDS)
    )
    try:
        yield process
    finally:
        await process.wait()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def memory() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@pytest.mark.parametrize("carrier", EVERY_CARRIER.values(), ids=EVERY_CARRIER)
@pytest.mark.parametrize("kind", FLOODS)
async def test_a_flood_stalls_no_other_client_and_keeps_no_memory(
    carrier: OpenStage, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with carrier(Settings(drain_seconds=0.01), None) as stage, connect(stage.address) as innocent:
        await innocent.recv()
        write_flood(stage, FLOODS[kind], tmp_path)
        opened = descriptors()
        before, most, longest, rounds = memory(), 0, 0.0, 0
        async with flooded(stage, tmp_path) as flood:
            while flood.returncode is None:
                began = time.monotonic()
                await asyncio.wait_for(await innocent.ping(), 10)
                longest, rounds = max(longest, time.monotonic() - began), rounds + 1
                most = max(most, memory() - before)
                await asyncio.sleep(0.11)  # a client may send ten pings a second
        async with asyncio.timeout(20):  # the flooder's connections end, which are not read any longer
            while descriptors() > opened:  # noqa: ASYNC110  # the kernel has no signal for it
                await asyncio.sleep(0.05)
        with capsys.disabled():
            print(f"\n{kind}: {longest * 1000:.0f} ms, {most / MIB:.1f} MiB, {rounds} rounds")
        assert rounds > 5
        assert longest <= LONGEST_STALL_SECONDS
        assert most <= MOST_MEMORY
