"""The demo: three addresses, all of them alive, and nothing left behind when it is stopped."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import asyncpg
import httpx
from websockets.asyncio.client import connect

from examples.flowcraft.api.serve import bind

ROOT = Path(__file__).parents[3]
SECONDS = 60


async def start(**environment: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "examples.flowcraft.demo",
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": "", **environment},
        stdout=PIPE,
        stderr=PIPE,
    )


def is_gone(dsn: str) -> bool:
    return not Path(dsn.partition("host=")[2]).exists()


async def test_the_demo_prints_three_addresses_that_work_and_stops_at_once_when_told() -> None:
    demo = await start(PORT="0")
    assert demo.stdout is not None
    try:
        async with asyncio.timeout(SECONDS):
            lines = [(await demo.stdout.readline()).decode().split() for _ in range(3)]
            assert [label for label, _ in lines] == ["page", "WebSocket", "database"]
            page, socket, dsn = [address for _, address in lines]
            async with httpx.AsyncClient(base_url=page) as http:
                assert (await http.get("api/audit")).json()["data"]
            async with connect(socket) as browser:
                await browser.send(json.dumps({"subscribe": ["run_rows"], "rows": True}))
                while "subscribed" not in json.loads(await browser.recv()):
                    pass
                database = await asyncpg.connect(dsn)
                await database.execute("update runs set progress = 99 where number = 1")
                await database.close()
                while (frame := json.loads(await browser.recv())).get("payload", {}).get("progress") != 99:
                    pass
                assert (frame["channel"], frame["payload"]["version"]) == ("run_rows", 2)
                told = time.monotonic()
                demo.send_signal(signal.SIGTERM)
                rest, errors = await demo.communicate()
                assert time.monotonic() - told < 3
    finally:
        if demo.returncode is None:
            demo.kill()
            await demo.wait()
    assert (demo.returncode, rest, errors) == (0, b"", b"")
    assert is_gone(dsn)


async def test_a_port_in_use_is_named_with_the_way_out() -> None:
    with bind(0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        demo = await start(PORT=str(port))
        output, errors = await demo.communicate()
    assert (demo.returncode, output) == (1, b"")
    reason = (
        f"port {port} cannot be used (Address already in use); choose another: PORT={port + 1} make demo\n"
    )
    assert errors.decode() == reason
