"""Mounted in a framework: which address the WebSocket has, and how it starts and ends."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import litestar
import pytest
import uvicorn
from fastapi import FastAPI
from litestar.types import Receive, Scope, Send
from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from flowcraft import Channels, Realtime, Settings, migrate
from flowcraft.adapters.asgi import AsgiApp
from flowcraft.entrypoints.asgi import RealtimeApp
from flowcraft.fan_out import IMPLEMENTATION


@pytest.fixture
async def realtime(database: str) -> Realtime:
    channels = Channels()
    await migrate(database, channels)
    return Realtime(channels, dsn=database, settings=Settings(drain_seconds=0.01))


@asynccontextmanager
async def served(app: Any, **config: Any) -> AsyncIterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", **config))
    serving = asyncio.create_task(server.serve([listener]))
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


def in_fastapi(realtime: Realtime) -> AsgiApp:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with realtime:
            yield

    app = FastAPI(lifespan=lifespan)
    app.mount("/live", realtime.asgi())
    return app


def in_starlette(realtime: Realtime) -> AsgiApp:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with realtime:
            yield

    return Starlette(routes=[Mount("/live", realtime.asgi())], lifespan=lifespan)


def in_starlette_by_a_route(realtime: Realtime) -> AsgiApp:
    """`WebSocketRoute` takes an ASGI application as it is, and wants no slash."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with realtime:
            yield

    routes = [WebSocketRoute("/live", realtime.asgi()), Mount("/live", realtime.asgi())]
    return Starlette(routes=routes, lifespan=lifespan)


def in_litestar(realtime: Realtime) -> Any:
    mounted = realtime.asgi()

    @litestar.asgi("/live", is_mount=True, copy_scope=True)
    async def live(scope: Scope, receive: Receive, send: Send) -> None:
        await mounted(scope, receive, send)

    return litestar.Litestar([live], lifespan=[lambda _: realtime], openapi_config=None)


@pytest.mark.parametrize(
    ("mount", "path"),
    [
        (in_fastapi, "/live/"),
        (in_starlette, "/live/"),
        (in_starlette_by_a_route, "/live"),
        (in_starlette_by_a_route, "/live/"),
        (in_litestar, "/live"),
        (in_litestar, "/live/"),
    ],
)
async def test_a_mounted_application_serves_and_ends_with_the_one_around_it(
    realtime: Realtime, mount: Callable[[Realtime], Any], path: str
) -> None:
    before = asyncio.all_tasks()
    async with served(mount(realtime)) as host, httpx.AsyncClient() as http:
        async with connect(f"ws://{host}{path}") as client:
            assert "hello" in json.loads(await client.recv())
            ready = (await http.get(f"http://{host}/live/readyz")).json()
            assert (ready["connections"], ready["message_connections"]) == (1, 0)
            assert ready["fan_out"] == IMPLEMENTATION
        assert (await http.get(f"http://{host}/live/healthz")).text == "ok\n"
        assert (await http.get(f"http://{host}/live/readyz")).json()["ready"] is True
    assert asyncio.all_tasks() == before


async def test_where_litestar_mounts_us_uvicorn_gives_us_no_other_path(realtime: Realtime) -> None:
    # Litestar has the mounted application believe that its path is `/`.
    async with served(in_litestar(realtime)) as host:
        for _ in range(2):
            async with connect(f"ws://{host}/live") as client:
                assert "hello" in json.loads(await client.recv())
        with pytest.raises(InvalidStatus):
            await connect(f"ws://{host}/")


async def test_an_application_may_have_all_that_is_sent_pass_as_messages(realtime: Realtime) -> None:
    async with (
        served(realtime.asgi(FastAPI(), direct=False)) as host,
        connect(f"ws://{host}/realtime") as client,
        httpx.AsyncClient() as http,
    ):
        assert "hello" in json.loads(await client.recv())
        ready = (await http.get(f"http://{host}/realtime/readyz")).json()
        assert (ready["connections"], ready["message_connections"]) == (1, 1)


@pytest.mark.parametrize("path", ["/realtime", "/realtime/"])
async def test_behind_a_proxy_that_takes_a_prefix_away_the_path_is_still_ours(
    realtime: Realtime, path: str
) -> None:
    async with (
        served(realtime.asgi(FastAPI()), root_path="/api") as host,
        connect(f"ws://{host}{path}") as client,
    ):
        assert "hello" in json.loads(await client.recv())


def wrapped(realtime: Realtime) -> AsgiApp:
    return realtime.asgi(FastAPI(root_path="/api"))


def in_the_middleware(realtime: Realtime) -> AsgiApp:
    app = FastAPI(root_path="/api")
    app.add_middleware(realtime.asgi)
    return app


@pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated")
@pytest.mark.parametrize("forwarded", [{}, {"X-Forwarded-Proto": "https", "X-Forwarded-For": "10.0.0.1"}])
@pytest.mark.parametrize(
    ("placed", "path"),
    [(in_the_middleware, "/realtime"), (in_the_middleware, "/api/realtime"), (wrapped, "/realtime")],
)
async def test_an_application_with_a_root_path_has_ours_with_and_without_it(
    realtime: Realtime, placed: Callable[[Realtime], AsgiApp], path: str, forwarded: dict[str, str]
) -> None:
    """Whether its proxy takes the prefix away; uvicorn reads what the proxy says of scheme and address."""
    app = placed(realtime)
    async with served(app, proxy_headers=True, forwarded_allow_ips="*") as host:
        async with connect(f"ws://{host}{path}", additional_headers=forwarded) as client:
            assert "hello" in json.loads(await client.recv())
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"http://{host}{path}/readyz", headers=forwarded)).status_code == 200


# The lifespan of what is wrapped


class Lived:
    """What starts and stops, and the server's side of the protocol."""

    def __init__(self, app: AsgiApp | None) -> None:
        self.app = RealtimeApp(self, app, "/realtime")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.said: list[str] = []
        self.fails: Exception | None = None

    async def start(self) -> None:
        if self.fails is not None:
            raise self.fails
        self.said.append("realtime starts")

    async def stop(self) -> None:
        self.said.append("realtime stops")

    async def live(self) -> list[str]:
        messages = iter(["lifespan.startup", "lifespan.shutdown"])

        async def receive() -> dict[str, Any]:
            return {"type": next(messages)}

        async def send(message: Any) -> None:
            self.said.append(message["type"].removeprefix("lifespan.") + message.get("message", "")[:40])

        await self.app({"type": "lifespan"}, receive, send)
        return self.said


ALL = ["realtime starts", "startup.complete", "realtime stops", "shutdown.complete"]


async def no_tables() -> None:
    raise ConnectionRefusedError("no tables")


async def without_lifespan(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("Django can only handle ASGI/HTTP connections, not lifespan.")


async def that_asks_first(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    raise ValueError("what is that?")


async def that_returns(scope: Any, receive: Any, send: Any) -> None:
    return


@pytest.mark.parametrize("app", [None, without_lifespan, that_asks_first, that_returns])
async def test_an_application_without_a_lifespan_is_served_and_we_start_and_stop_all_the_same(
    app: AsgiApp | None,
) -> None:
    assert await Lived(app).live() == ALL


async def test_we_start_after_the_application_and_stop_before_it() -> None:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        lived.said.append("tables are made")
        yield
        lived.said.append("pool is closed")

    lived = Lived(Starlette(lifespan=lifespan))
    assert await lived.live() == [
        "tables are made", "realtime starts", "startup.complete",
        "realtime stops", "pool is closed", "shutdown.complete",
    ]  # fmt: skip


async def test_an_application_that_cannot_start_fails_as_it_would_alone() -> None:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await no_tables()
        yield

    lived = Lived(Starlette(lifespan=lifespan))
    with pytest.raises(ConnectionRefusedError, match="no tables"):
        await lived.live()
    assert [said[:14] for said in lived.said] == ["startup.failed", "realtime stops"]


@pytest.mark.parametrize("app", [None, without_lifespan])
async def test_a_start_that_fails_is_told_to_the_server(app: AsgiApp | None) -> None:
    lived = Lived(app)
    lived.fails = RuntimeError(": no database")
    assert await lived.live() == ["startup.failed: no database", "realtime stops"]
