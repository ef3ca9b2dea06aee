"""The examples of the guides on every ASGI server: a commit arrives, and at SIGTERM all ends in order."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.carriers.test_carriers import closing, frame
from tests.support.hosts import HOSTS, ROOT, Hosted, hosted, hosts_environment

pytestmark = [pytest.mark.world, pytest.mark.timeout(300)]
SETTINGS = "examples.frameworks.django_app.settings"
SHOPS = ["fastapi_app", "starlette_app", "litestar_app", "django_app.asgi"]
SERVERS = {
    "uvicorn": HOSTS["uvicorn"],
    "gunicorn": "gunicorn -b 127.0.0.1:{port} -k uvicorn_worker.UvicornWorker -w 1",
    "hypercorn": HOSTS["hypercorn"],
    "daphne": HOSTS["daphne"],
    "granian": HOSTS["granian"],
}
ENDS_WITHIN_SECONDS = 15.0


@pytest.fixture(scope="module", autouse=True)
def _environment() -> None:
    hosts_environment()


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("name", SHOPS)
async def test_a_shop_is_served(name: str, server: str, database: str, tmp_path: Path) -> None:
    environment = {"DATABASE_URL": database, "DJANGO_SETTINGS_MODULE": SETTINGS}
    app = f"examples.frameworks.{name}:app"
    if name == "django_app.asgi":
        await migrated(environment)
    elif server == "daphne":  # it runs no lifespan, in which the other shops make their table
        async with hosted(SERVERS["uvicorn"], app, tmp_path, **environment) as served:
            await until_ready(served, "/realtime")
    async with hosted(SERVERS[server], app, tmp_path, **environment) as served:
        await serves(served, "/realtime", "item_update", "PUT", "/items/1?stock=5")


@pytest.mark.parametrize("server", [name for name in SERVERS if name != "daphne"])
async def test_the_example_that_mounts_is_served(server: str, database: str, tmp_path: Path) -> None:
    async with hosted(SERVERS[server], "examples.orders.app:app", tmp_path, DATABASE_URL=database) as served:
        await serves(served, "/realtime/", "shop_update", "POST", "/api/orders?buyer=Ada&item=Lamp")


async def migrated(environment: dict[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        str(hosts_environment() / "python"), "-m", "django", "migrate", "--verbosity=0",
        cwd=ROOT, env={"PYTHONPATH": "src:.", **environment},
    )  # fmt: skip
    assert await process.wait() == 0


async def serves(served: Hosted, path: str, channel: str, method: str, changing: str) -> None:
    """A WebSocket and a stream receive what a request commits; a stop ends both, and then the server."""
    await until_ready(served, path)
    async with httpx.AsyncClient(base_url=f"http://{served.address}", timeout=30) as http:
        stream = http.stream("GET", f"{path.rstrip('/')}/events?channel={channel}")
        async with connect(f"ws://{served.address}{path}?channel={channel}") as client, stream as response:
            lines = response.aiter_lines()
            while "subscribed" not in await frame(client):
                pass
            async for line in lines:
                if "subscribed" in line:
                    break
            assert (await http.request(method, changing)).is_success, served.log
            while "payload" not in await frame(client):
                pass
            async for line in lines:
                if "payload" in line:
                    break
            served.process.send_signal(signal.SIGTERM)
            rest = [line async for line in lines if line]
            assert rest[-2:-1] == ["event: close"], rest
            code = (await closing(client))[0]
    async with asyncio.timeout(ENDS_WITHIN_SECONDS):
        await served.process.wait()
    assert code in (1012, 1000), served.log
    assert "Traceback" not in served.log, served.log


async def until_ready(served: Hosted, path: str) -> None:
    url = f"http://{served.address}{path.rstrip('/')}/readyz"
    async with asyncio.timeout(30), httpx.AsyncClient() as http:
        while (await http.get(url)).status_code != 200:
            assert served.process.returncode is None, served.log
            await asyncio.sleep(0.05)  # a server that starts can only be asked again
