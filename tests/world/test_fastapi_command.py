"""`fastapi dev` and `fastapi run` serve the WebSocket of the guide's example."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.support.hosts import ROOT, hosted, hosts_environment

pytestmark = [pytest.mark.world, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", autouse=True)
def _environment() -> None:
    hosts_environment()


@pytest.mark.parametrize("command", ["dev", "run"])
async def test_the_example_has_its_websocket(command: str, database: str, tmp_path: Path) -> None:
    copied = tmp_path / "project" / "main.py"  # alone: the command can import what is beside a file
    copied.parent.mkdir()
    copied.write_text((ROOT / "examples/frameworks/fastapi_app.py").read_text())
    started = hosted(
        f"fastapi {command} --host 127.0.0.1 --port {{port}}",
        str(copied),
        tmp_path,
        DATABASE_URL=database,
    )
    async with started as served, httpx.AsyncClient(base_url=f"http://{served.address}") as http:
        assert (await http.put("/items/1?stock=5")).is_success, served.log
        async with connect(f"ws://{served.address}/realtime?channel=item_update") as client:
            assert "hello" in json.loads(await client.recv())
            assert (await http.get("/realtime/readyz")).json()["message_connections"] == 0
