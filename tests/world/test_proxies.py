"""The configurations of docs/guides/proxies.md in nginx, HAProxy, Caddy; what doctor finds in others."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from flowcraft.entrypoints.diagnosis import DiagnosisLine
from flowcraft.entrypoints.proxy_check import check_way
from flowcraft.settings import Settings
from tests.carriers.test_carriers import frame, number, opened
from tests.support.carriers import Stage, dedicated
from tests.support.proxies import TITLES, Proxy, install, missing, proxied

pytestmark = [pytest.mark.world, pytest.mark.timeout(300)]
HEARTBEAT = 1.0
SHORT = {
    "nginx": [("75s", "3s")],
    "haproxy": [("75s", "3s")],
    "caddy": [("flush_interval -1", "transport http {\n            read_timeout 3s\n        }")],
}
"""Time-outs that a test can wait for; Caddy's is for reads from the server."""


@pytest.fixture(scope="module", params=list(TITLES))
def program(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if missing(name) and os.geteuid() == 0:
        install([name])
    if missing(name):
        pytest.skip(f"not run: {name} is not installed, and only root can install it")
    return name


@asynccontextmanager
async def through(
    program: str, folder: Path, *changes: tuple[str, str], heartbeat: float = HEARTBEAT
) -> AsyncIterator[tuple[Stage, Proxy]]:
    settings = Settings(drain_seconds=0.01, heartbeat_seconds=heartbeat)
    async with dedicated(settings, None) as stage:
        server = stage.http("").removeprefix("http://")
        async with proxied(program, server, folder, changes) as proxy, httpx.AsyncClient(timeout=10) as http:
            async with asyncio.timeout(20):  # HAProxy and Caddy check the server's health first
                while (await http.get(f"http://{proxy.plain}/readyz")).status_code != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            yield stage, proxy


async def test_websockets_pass_also_below_a_prefix_and_over_tls(program: str, tmp_path: Path) -> None:
    async with through(program, tmp_path) as (stage, proxy):
        addresses = [
            (f"{scheme}://{where}{path}", context)
            for scheme, where, context in (("ws", proxy.plain, None), ("wss", proxy.secure, proxy.trusted))
            for path in ("/realtime", "/app/realtime")
        ]
        for n, (address, context) in enumerate(addresses):
            origin = address.replace("ws", "http", 1).partition("/realtime")[0].removesuffix("/app")
            async with connect(address, ssl=context, origin=origin, open_timeout=10) as client:  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
                await opened(client, "ping_update")
                await stage.ping(n)
                assert await number(client) == n
                cursor = (await frame(client))["cursor"]
            await stage.ping(100 + n)
            async with connect(address, ssl=context, open_timeout=10) as client:
                await client.send(json.dumps({"subscribe": ["ping_update"], "since": cursor}))
                assert await number(client) == 100 + n


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_event_streams_pass_at_once_and_resume_also_over_http2(
    program: str, method: str, tmp_path: Path
) -> None:
    async with through(program, tmp_path) as (stage, proxy):
        address = f"https://{proxy.secure}/app/realtime/events"
        command = ["curl", "-sN", "--http2", "--cacert", str(proxy.certificate), "-w", "%{http_version}"]
        if method == "POST":
            command += ["-d", '{"subscribe":["ping_update"]}', address]
        else:
            command += [f"{address}?channel=ping_update"]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        async with asyncio.timeout(20):
            while b"subscribed" not in await process.stdout.readline():
                pass
            await stage.ping(7)
            while b'"n":7' not in await process.stdout.readline():
                pass
            while not (line := await process.stdout.readline()).startswith(b"id: "):
                pass
        process.terminate()
        await process.wait()
        await stage.ping(8)
        resuming = [
            *command[:2],
            "--max-time",
            "5",
            *command[2:-1],
            "-H",
            f"Last-Event-ID: {line[4:].decode().strip()}",
        ]
        resuming += [f"{address}?channel=ping_update"]
        if method == "GET":
            process = await asyncio.create_subprocess_exec(*resuming, stdout=asyncio.subprocess.PIPE)
            received, _ = await process.communicate()
            assert b'"n":8' in received
            assert b'"n":7' not in received
            assert received.endswith(b"2")  # HTTP/2


async def test_connections_live_for_longer_than_every_time_out(program: str, tmp_path: Path) -> None:
    async with (
        through(program, tmp_path, *SHORT[program]) as (stage, proxy),
        connect(f"ws://{proxy.plain}/realtime", open_timeout=10) as client,
        httpx.AsyncClient(timeout=20) as http,
        http.stream("GET", f"http://{proxy.plain}/realtime/events?channel=ping_update") as response,
    ):
        await opened(client, "ping_update")
        lines = response.aiter_lines()
        async with asyncio.timeout(30):
            beats = 0
            while beats < 7:  # seven heartbeats, more than twice the time-out of 3 s
                beats += "cursor" in await frame(client)
        await stage.ping(1)
        assert await number(client) == 1
        async with asyncio.timeout(10):
            async for line in lines:
                if '"n":1' in line and "payload" in line:
                    break


# what doctor finds

CLEAN = {"websocket": "ok", "event stream": "ok"}


def verdicts(found: list[DiagnosisLine]) -> dict[str, str]:
    return {one.about: one.verdict for one in found}


async def test_doctor_finds_nothing_in_the_guides_configurations(program: str, tmp_path: Path) -> None:
    async with through(program, tmp_path) as (_, proxy):
        for path in ("/realtime", "/app/realtime"):
            assert verdicts(await check_way(f"ws://{proxy.plain}{path}")) == CLEAN


async def test_doctor_finds_a_time_out_below_the_heartbeat(program: str, tmp_path: Path) -> None:
    if program == "caddy":
        pytest.skip("not run: Caddy has no time-out for what is open")
    async with through(program, tmp_path, *SHORT[program], heartbeat=8.0) as (_, proxy):
        found = await check_way(f"ws://{proxy.plain}/realtime")
    quiet = [one for one in found if one.about == "idle time"]
    assert verdicts(quiet) == {"idle time": "wrong"}
    assert all("the heartbeat is 8 s" in one.sentence for one in quiet)


LOCATION = "location /realtime {"
OPTION = "option forwardfor"
PROXY = "    reverse_proxy /realtime*"
ENCODE = "    encode {\n        gzip\n        minimum_length 1\n        match status 200\n    }\n"
MISTAKES = {
    "HTTP/1.0 without Upgrade": (
        "nginx", [("proxy_http_version 1.1;", ""), ("proxy_set_header Upgrade $http_upgrade;", "")],
        "websocket", "arrived without its upgrade",
    ),
    "no Upgrade": ("nginx", [("Upgrade $http_upgrade;", "Upgrade '';")], "websocket", "without its upgrade"),
    "Host without its port": ("nginx", [("$http_host", "$host")], "websocket", "another Host"),
    "the Host of the server": ("nginx", [("$http_host", "server")], "websocket", "another Host"),
    "buffering": (
        "nginx", [("proxy_buffering off;", "proxy_ignore_headers X-Accel-Buffering;")],
        "event stream", "buffers it",
    ),
    "compression of nginx": (
        "nginx", [(LOCATION, f"{LOCATION} gzip on; gzip_min_length 0; gzip_types text/event-stream;")],
        "event stream", "compresses it",
    ),
    "a wrong prefix": (
        "nginx", [("location /realtime {", "location /live {")], "websocket", "nothing is at /realtime",
    ),
    "a redirect to https": (
        "nginx", [(LOCATION, f"{LOCATION} return 301 https://$host$request_uri;")], "websocket", "use wss://",
    ),
    "a login page": (
        "nginx", [(LOCATION, f"{LOCATION} default_type text/html; return 200 '<html>sign in</html>';")],
        "websocket", "a page for browsers",
    ),
    "a redirect to a login": (
        "nginx", [(LOCATION, f"{LOCATION} return 302 /login?next=$uri;")], "websocket", "a login answers",
    ),
    "no server behind it": (
        "nginx", [(f"{LOCATION}\n", f"{LOCATION} proxy_pass http://127.0.0.1:1; #")],
        "websocket", "not reach",
    ),
    "a wrong Host of HAProxy": (
        "haproxy", [(OPTION, "http-request set-header Host backend.internal")], "websocket", "another Host",
    ),
    "no Upgrade of HAProxy": (
        "haproxy", [(OPTION, "http-request del-header Upgrade")], "websocket", "without its upgrade",
    ),
    "a denial of HAProxy": (
        "haproxy", [(OPTION, "http-request deny deny_status 401")], "websocket", "credentials",
    ),
    "compression of Caddy": ("caddy", [(PROXY, ENCODE + PROXY)], "event stream", "compresses it"),
    "a wrong Host of Caddy": (
        "caddy", [("flush_interval -1", "header_up Host {upstream_hostport}")], "websocket", "another Host",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_doctor_names_a_mistake_and_what_to_change(mistake: str, tmp_path: Path) -> None:
    program, changes, about, words = MISTAKES[mistake]
    if missing(program):
        pytest.skip(f"not run: {program} is not installed")
    async with dedicated(Settings(drain_seconds=0.01), None) as stage:
        server = stage.http("").removeprefix("http://")
        async with proxied(program, server, tmp_path, changes) as proxy:
            found = await check_way(f"ws://{proxy.plain}/realtime", idle=False)
    wrong = {one.about: one.sentence for one in found if one.verdict == "wrong"}
    assert words in wrong.get(about, ""), found


async def test_doctor_names_a_certificate_that_browsers_refuse_and_the_wrong_scheme(tmp_path: Path) -> None:
    if missing("nginx"):
        pytest.skip("not run: nginx is not installed")
    async with through("nginx", tmp_path) as (_, proxy):
        expected = {
            f"wss://{proxy.secure}/realtime": "certificate",
            f"ws://{proxy.secure}/realtime": "use wss://",
            f"wss://{proxy.plain}/realtime": "does not speak TLS",
        }
        for url, words in expected.items():
            found = await check_way(url, idle=False)
            assert words in found[0].sentence, (url, found)
