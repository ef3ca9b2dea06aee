"""An edge: the demo's server without a database of its own for the log, with `EDGE=nats make demo`."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from flowcraft.settings import LOG_URL

HOST = "127.0.0.1"
READY_SECONDS = 20.0


@asynccontextmanager
async def log_through_nats(dsn: str) -> AsyncIterator[str]:
    """Run NATS and a relay, and have every `Realtime` of this process follow it; yield its address."""
    port = _free_port()
    url = f"nats://{HOST}:{port}"
    binary = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin")
    if binary is None:
        sys.exit("EDGE=nats needs nats-server (Debian: apt install nats-server)")
    target = "examples.flowcraft.api.core.domain.channels:channels"
    relay = [
        sys.executable,
        "-m",
        "flowcraft.entrypoints.cli",
        "relay",
        target,
        "--log-url",
        url,
        "--dsn",
        dsn,
    ]
    quiet = asyncio.subprocess.DEVNULL
    programs = [
        await asyncio.create_subprocess_exec(binary, "-a", HOST, "-p", str(port), stdout=quiet, stderr=quiet)
    ]
    try:
        await _until_listening(port)
        programs.append(await asyncio.create_subprocess_exec(*relay, stderr=quiet))
        os.environ[LOG_URL] = url
        yield url
    finally:
        os.environ.pop(LOG_URL, None)
        for program in reversed(programs):
            program.terminate()
            await program.wait()


async def _until_listening(port: int) -> None:
    async with asyncio.timeout(READY_SECONDS):
        while True:
            try:
                _, writer = await asyncio.open_connection(HOST, port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])
