"""ASGI servers: our streams end in order when a server is asked to stop, and it ends in time."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.carriers.test_carriers import closing, frame, opened
from tests.support.hosts import HOSTS, ROOT, Hosted, hosted, hosts_environment

pytestmark = [pytest.mark.world, pytest.mark.timeout(300)]
APP = "tests.support.on_uvicorn:app"
DRAIN_SECONDS = 1.0
ENDS_WITHIN_SECONDS = DRAIN_SECONDS + 8.0
"""The drain, closing handshakes, and what the servers themselves take on a busy machine."""


@pytest.fixture(scope="module", autouse=True)
def _environment() -> None:
    hosts_environment()


async def until_open(served: Hosted, http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(20):
        while (await http.get(f"http://{served.address}/live/readyz")).status_code != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # a server that starts can only be asked again


async def until_bye(served: Hosted, subscribed: asyncio.Event) -> tuple[list[str], int]:
    """The last two kinds of frame that a WebSocket gets, and its close code."""
    async with connect(f"ws://{served.address}/live") as client:
        await opened(client, "ping_update")
        subscribed.set()
        kinds = list[str]()
        try:
            while True:
                kinds += await frame(client)
        except ConnectionClosed:
            return [kind for kind in kinds if kind == "bye"], (await closing(client))[0]


async def until_stream_ends(served: Hosted, http: httpx.AsyncClient, subscribed: asyncio.Event) -> list[str]:
    """The last events of a stream; that it ends in the middle is an error of httpx."""
    url, lines = f"http://{served.address}/live/events?channel=ping_update", list[str]()
    async with http.stream("GET", url) as response:
        async for line in response.aiter_lines():
            if "subscribed" in line:
                subscribed.set()
            if line:
                lines.append(line)
    return lines[-3:]


@pytest.mark.parametrize(
    ("name", "number"),
    [
        *[(name, signal.SIGTERM) for name in HOSTS],
        *[
            (name, signal.SIGINT) for name in HOSTS if "gunicorn" not in name
        ],  # to Gunicorn it means to stop at once
    ],
)
async def test_at_a_stop_signal_every_stream_ends_by_itself_and_then_the_server(
    name: str, number: signal.Signals, tmp_path: Path
) -> None:
    async with (
        hosted(HOSTS[name], APP, tmp_path, DRAIN_SECONDS=str(DRAIN_SECONDS)) as served,
        httpx.AsyncClient(timeout=30) as http,
    ):
        await until_open(served, http)
        opened_all = [asyncio.Event() for _ in range(4)]
        sockets = [asyncio.create_task(until_bye(served, event)) for event in opened_all[:2]]
        streams = [asyncio.create_task(until_stream_ends(served, http, event)) for event in opened_all[2:]]
        async with asyncio.timeout(30):
            for event in opened_all:
                await event.wait()
        served.process.send_signal(number)
        async with asyncio.timeout(ENDS_WITHIN_SECONDS):
            await served.process.wait()
        code = 1000 if name == "daphne" else 1012  # Daphne allows an application no code below 3000 but 1000
        assert [await one for one in sockets] == [(["bye"], code)] * 2
        for stream in streams:
            bye, kind, close = await stream
            assert "bye" in json.loads(bye.removeprefix("data: "))
            assert (kind, close) == ("event: close", 'data: {"code":1012,"reason":"restart"}')
        assert "Traceback" not in served.log, served.log


async def test_a_reload_ends_every_stream_and_serves_again(tmp_path: Path) -> None:
    """uvicorn waits for responses before it starts the next worker; ours end by themselves."""
    watched = tmp_path / "watched"
    watched.mkdir()
    command = f"uvicorn --port {{port}} --reload --reload-dir {watched}"
    async with (
        hosted(command, APP, tmp_path, DRAIN_SECONDS=str(DRAIN_SECONDS)) as served,
        httpx.AsyncClient(timeout=30) as http,
    ):
        await until_open(served, http)
        subscribed = [asyncio.Event(), asyncio.Event()]
        client = asyncio.create_task(until_bye(served, subscribed[0]))
        stream = asyncio.create_task(until_stream_ends(served, http, subscribed[1]))
        async with asyncio.timeout(60):
            for event in subscribed:
                await event.wait()
            (watched / "changed.py").write_text("changed = True\n")
            assert await client == (["bye"], 1012)
            assert (await stream)[1] == "event: close"
            async for again in connect(f"ws://{served.address}/live"):
                async with again:
                    await opened(again, "ping_update")
                    break
        assert "Traceback" not in served.log, served.log


async def test_a_second_signal_does_not_wait_for_the_drain(tmp_path: Path) -> None:
    async with (
        hosted(HOSTS["daphne"], APP, tmp_path, DRAIN_SECONDS="60") as served,
        httpx.AsyncClient(timeout=30) as http,
    ):
        await until_open(served, http)
        subscribed = [asyncio.Event(), asyncio.Event()]
        clients = [asyncio.create_task(until_bye(served, event)) for event in subscribed]
        for event in subscribed:
            await event.wait()
        served.process.terminate()
        await asyncio.wait(clients, return_when=asyncio.FIRST_COMPLETED)
        served.process.terminate()
        async with asyncio.timeout(ENDS_WITHIN_SECONDS):
            await served.process.wait()
        assert sorted([await client for client in clients]) == [([], 1006), (["bye"], 1000)]


def test_in_process_clients_of_httpx_ws_and_of_channels_are_served() -> None:
    done = subprocess.run(
        [hosts_environment() / "python", "-X", "dev", "-m", "tests.support.in_process_clients"],
        cwd=ROOT, env={"PYTHONPATH": "src:."}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["all served"]), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
