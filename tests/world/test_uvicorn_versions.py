"""uvicorn, from the oldest version that is promised to the newest there is: each lets us write to its socket.

Each version has an environment of its own, which pip makes.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import httpx
import pytest
from websockets.asyncio.client import unix_connect

from tests.carriers.test_carriers import closing, frame, number, opened

pytestmark = [pytest.mark.world, pytest.mark.timeout(180)]
ROOT = Path(__file__).parents[2]
NEEDED = (
    "httptools", "wsproto", "uvloop", "websockets>=15", "asyncpg", "msgspec", "PyJWT[crypto]", "typer",
    "typing_extensions", "prometheus-client", "asgiref",
)  # fmt: skip
WITHOUT_SANSIO = ("0.23.2", "0.27.1", "0.30.6", "0.34.3")
NEWEST = "newest"
CASES = [
    (version, ws, loop)
    for version in (*WITHOUT_SANSIO, "0.35.0", "0.38.0", "0.40.0", NEWEST)
    for ws in ("websockets", "websockets-sansio", "wsproto")
    if not (ws == "websockets-sansio" and version in WITHOUT_SANSIO)
    for loop in ("asyncio", "uvloop")
]


@cache
def python_with(version: str) -> str:
    """The interpreter of an environment with a version of uvicorn."""
    folder = mkdtemp(prefix=f"uvicorn-{version}-")
    atexit.register(rmtree, folder)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = f"{folder}/bin/python"
    wanted = "uvicorn" if version == NEWEST else f"uvicorn=={version}"
    subprocess.run([python, "-m", "pip", "install", "--quiet", wanted, *NEEDED], check=True)
    return python


@pytest.mark.parametrize(("version", "ws", "loop"), CASES)
async def test_a_version_of_uvicorn_lets_us_write_to_its_socket_and_ends_with_bye(
    version: str, ws: str, loop: str, tmp_path: Path
) -> None:
    python, where = await asyncio.to_thread(python_with, version), str(tmp_path / "socket")
    server = await asyncio.create_subprocess_exec(
        *(python, "-m", "uvicorn", "tests.support.on_uvicorn:app"),
        *("--uds", where, "--ws", ws, "--loop", loop),
        cwd=ROOT,
        env=os.environ | {"DRAIN_SECONDS": "0.1", "PYTHONPATH": "src"},
        stderr=asyncio.subprocess.PIPE,
    )
    assert server.stderr is not None
    try:
        async with asyncio.timeout(60):
            await server.stderr.readuntil(b"running on unix socket")
            async with (
                unix_connect(where, "ws://here/live", max_size=None) as client,
                httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=where), timeout=30) as http,
            ):
                await opened(client, "ping_update")
                ready = (await http.get("http://here/live/readyz")).json()
                assert (ready["connections"], ready["message_connections"]) == (1, 0)
                await http.get("http://here/emit")
                pong = await client.ping()
                assert [await number(client) for _ in range(40)] == [*range(40)]
                await pong
                server.terminate()
                while "bye" not in await frame(client):
                    pass
                assert await closing(client) == (1012, "restart")
            assert b"Traceback" not in await server.stderr.read()
    finally:
        if server.returncode is None:
            server.kill()
        await server.wait()
