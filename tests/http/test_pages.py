"""The health pages: the same on the dedicated server, on a mount and around an application."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass

import httpx
import msgspec
import pytest

from flowcraft.adapters.asgi import AsgiApp, Receive, Scope, Send, answer_http
from flowcraft.adapters.prometheus import CONTENT_TYPE
from flowcraft.core.counts import Counts
from flowcraft.entrypoints.asgi import RealtimeApp
from flowcraft.entrypoints.pages import readiness
from flowcraft.entrypoints.serve import Server
from flowcraft.runtime.node import Node
from tests.support.carriers import QUICK, make_node
from tests.support.reports import blank_report

TEXT = "text/plain; charset=utf-8"
Serving = Callable[[Node], AbstractAsyncContextManager[httpx.AsyncClient]]
pytestmark = pytest.mark.asyncio


@dataclass
class Startable:
    """What an ASGI application starts: this node."""

    node: Node
    starts: int = 0

    async def start(self) -> Node:
        self.starts += 1
        return self.node

    async def stop(self) -> None:
        """Do nothing: the test stops the node."""


@asynccontextmanager
async def dedicated(node: Node) -> AsyncIterator[httpx.AsyncClient]:
    server = Server(node, "127.0.0.1", 0)
    await server.start()
    try:
        address = server.address.replace("ws://", "http://").removesuffix("/realtime")
        async with httpx.AsyncClient(base_url=address) as http:
            yield http
    finally:
        server.close()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    await answer_http(send, 404, "the application's\n")


def client_of(startable: Startable, app: AsgiApp | None, below: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(RealtimeApp(startable, app, "/realtime"))
    return httpx.AsyncClient(transport=transport, base_url=f"http://here{below}")


def in_asgi(app: AsgiApp | None, below: str) -> Serving:
    @asynccontextmanager
    async def serving(node: Node) -> AsyncIterator[httpx.AsyncClient]:
        async with client_of(Startable(node), app, below) as http:
            yield http

    return serving


SERVERS: dict[str, Serving] = {
    "dedicated": dedicated,
    "mounted": in_asgi(None, "/live"),
    "mounted at the root": in_asgi(None, ""),
    "wrapped": in_asgi(application, "/realtime"),
}


@pytest.mark.parametrize("serving", SERVERS.values(), ids=SERVERS)
async def test_every_server_has_the_same_pages(serving: Serving) -> None:
    node, _ = make_node(QUICK, None)

    async def got(path: str) -> tuple[int, str]:
        response = await http.get(path)
        return response.status_code, response.headers["content-type"]

    async with serving(node) as http:
        assert (await http.get("/healthz")).text == "ok\n"
        assert await got("/healthz") == (200, TEXT)
        assert await got("/readyz") == (503, "application/json")
        assert (await http.get("/readyz")).json()["state"] == "starting"
        node.start()
        await node.until_accepting()
        assert await got("/readyz") == (200, "application/json")
        assert await got("/metrics") == (200, CONTENT_TYPE)
        assert "flowcraft_connections" in (await http.get("/metrics")).text
        assert (await got("/elsewhere"))[0] in {404, 426}
        await node.drain()
        assert await got("/readyz") == (503, "application/json")
        assert await got("/healthz") == (200, TEXT)
    await node.stop()


async def test_a_mount_answers_healthz_without_starting_its_node() -> None:
    startable = Startable(make_node(QUICK, None)[0])
    async with client_of(startable, None, "/live") as http:
        assert (await http.get("/healthz")).text == "ok\n"
        assert startable.starts == 0
        assert (await http.get("/readyz")).status_code == 503
        assert startable.starts == 1


async def test_what_is_not_a_page_is_the_applications() -> None:
    startable = Startable(make_node(QUICK, None)[0])
    async with client_of(startable, application, "") as http:
        for path in ("/healthz", "/realtime", "/realtime/healthz/more", "/other/realtime/readyz"):
            assert (await http.get(path)).text == "the application's\n", path
        handshake = await http.get("/realtime", headers={"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="})
        assert (handshake.status_code, handshake.headers["upgrade"]) == (426, "websocket")
    assert startable.starts == 0


async def test_readyz_is_the_report_without_channel_names_and_histograms() -> None:
    report = blank_report(subscribers={"runs.{run_id}": 1}, counts=Counts(slow_closes=3))
    page = json.loads(readiness(report))
    whole = msgspec.to_builtins(report)
    assert whole.keys() - page.keys() == {"subscribers"}
    assert whole["counts"].keys() - page["counts"].keys() == {"commit_delay", "loop_delay", "refusals"}
    assert page == {
        **{name: value for name, value in whole.items() if name in page},
        "counts": {name: value for name, value in whole["counts"].items() if name in page["counts"]},
    }


async def test_readyz_stays_small_however_many_channels_there_are() -> None:
    node, _ = make_node(QUICK, None)
    node.start()
    await node.until_accepting()
    report = node.report()
    await node.stop()
    # Half of it for the node and its three tasks, half for the counts.
    assert len(readiness(report)) < 1_050
    # Below one TCP segment of 1,460 bytes with its HTTP head of 110, when every counter has ten digits.
    counts = Counts()
    for name, value in asdict(counts).items():
        if isinstance(value, int):
            setattr(counts, name, 10**9)
    subscribers = {f"channel_{n}": 1 for n in range(1000)}
    grown = msgspec.structs.replace(report, subscribers=subscribers, counts=counts)
    assert len(readiness(grown)) < 1_350
