"""Each framework's example on a real uvicorn: what is committed is heard, what is rolled back is not."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.postgres import connected

EXAMPLES = "examples.frameworks"
ROOT = Path(__file__).parents[2]
ADDRESS = re.compile(r"Uvicorn running on http://(\S+)")


class Served:
    """An example that runs in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, environment: dict[str, str]) -> None:
        self.environment = environment
        self.process = process
        self.log = ""
        self.host = ""

    async def started(self) -> None:
        assert self.process.stderr is not None
        while not (found := ADDRESS.search(self.log)):
            line = await self.process.stderr.readline()
            assert line, self.log
            self.log += line.decode()
        self.host = found[1]

    async def stop(self) -> int:
        """Stop as a supervisor does; return the exit status."""
        assert self.process.stderr is not None
        self.process.send_signal(signal.SIGTERM)
        self.log += (await self.process.stderr.read()).decode()
        return await self.process.wait()


async def run(environment: dict[str, str], *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, env=environment, cwd=ROOT)
    assert await process.wait() == 0


@asynccontextmanager
async def serving(name: str, dsn: str) -> AsyncIterator[Served]:
    settings = f"{EXAMPLES}.django_app.settings"
    environment = {
        **os.environ,
        "DATABASE_URL": dsn,
        "DJANGO_SETTINGS_MODULE": settings,
        "PYTHONWARNINGS": "default",
    }
    if name == "django_app.asgi":
        await run(environment, "-m", "django", "migrate", "--verbosity=0")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-X", "dev", "-m", "uvicorn", f"{EXAMPLES}.{name}:app", "--port=0",
        env=environment, cwd=ROOT, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        served = Served(process, environment)
        await served.started()
        yield served
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def frame(client: ClientConnection) -> dict[str, Any]:
    received: dict[str, Any] = json.loads(await client.recv())
    return received


async def event(client: ClientConnection) -> object:
    """The payload of the next event."""
    while "payload" not in (received := await frame(client)):
        pass
    return received["payload"]


@pytest.mark.parametrize("name", ["fastapi_app", "starlette_app", "litestar_app", "django_app.asgi"])
async def test_what_a_request_commits_is_heard_and_what_it_rolls_back_is_not(
    name: str, database: str
) -> None:
    async with serving(name, database) as served, httpx.AsyncClient(base_url=f"http://{served.host}") as http:
        assert (await http.put("/items/1?stock=5")).is_success
        state = (await http.get("/items")).json()
        assert state["items"] == [{"item_id": 1, "stock": 5}]
        assert (await http.post("/items/1/take?count=1")).is_success
        async with connect(f"ws://{served.host}/realtime") as client:
            await client.send(json.dumps({"subscribe": ["item_update"], "since": state["cursor"]}))
            assert await event(client) == {"type": "ItemUpdate", "item_id": 1, "stock": 4}
            assert (await http.post("/items/1/take?count=9")).status_code == 409
            assert (await http.post("/items/1/take?count=3")).is_success
            assert await event(client) == {"type": "ItemUpdate", "item_id": 1, "stock": 1}
            assert await served.stop() == -signal.SIGTERM
            with pytest.raises(ConnectionClosed):
                await event(client)
            assert client.close_code == 1012
    await leaves_nothing_open(served, database)


async def leaves_nothing_open(served: Served, dsn: str) -> None:
    """No complaint of Python's development mode that something was not closed, and no connection."""
    assert "Application shutdown complete" in served.log
    assert not re.search("Warning|Error|Traceback|never|destroyed", served.log), served.log
    async with connected(dsn) as connection:
        others = "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        assert await connection.fetch(f"select application_name {others}") == []
