"""Event streams inside the middleware that applications have: at once, live, left and ended as without it."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount

from flowcraft.adapters.asgi import AsgiApp, Receive, Scope, Send
from flowcraft.entrypoints.asgi import RealtimeApp
from tests.support.carriers import Started, uvicorn_with

pytestmark = pytest.mark.asyncio


class Logged(BaseHTTPMiddleware):
    """As in most tutorials; it takes the response into a task group of its own."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


class OldGzip:
    """Starlette's before 0.46: it compresses all that has no Content-Encoding, and keeps what is small."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kept = io.BytesIO()
        file = gzip.GzipFile(mode="wb", fileobj=kept)
        is_encoded = False

        async def compressed(message: Scope) -> None:
            nonlocal is_encoded
            if message["type"] == "http.response.start":
                is_encoded = b"content-encoding" in dict(message["headers"])
                if not is_encoded:
                    message["headers"] = [*message["headers"], (b"content-encoding", b"gzip")]
            elif not is_encoded:
                file.write(message.get("body", b""))
                if not message.get("more_body", False):
                    file.close()
                message = {**message, "body": kept.getvalue()}
                kept.seek(0)
                kept.truncate()
            await send(message)

        await self._app(scope, receive, compressed)


STACKS: dict[str, list[Middleware]] = {
    "nothing": [],
    "gzip": [Middleware(GZipMiddleware, minimum_size=1)],
    "an old gzip": [Middleware(OldGzip)],
    "a log": [Middleware(Logged)],
    "logs": [Middleware(Logged), Middleware(Logged)],
    "sessions": [Middleware(SessionMiddleware, secret_key="-")],
    "hosts": [Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1"])],
    "all": [
        Middleware(Logged),
        Middleware(GZipMiddleware),
        Middleware(SessionMiddleware, secret_key="-"),
        Middleware(CORSMiddleware, allow_origins=["*"]),
        Middleware(OldGzip),
    ],
}


def mounted(started: Started, stack: list[Middleware]) -> AsgiApp:
    return Starlette(routes=[Mount("/realtime", RealtimeApp(started, None, "/"))], middleware=stack)


def as_middleware(started: Started, stack: list[Middleware]) -> AsgiApp:
    return Starlette(middleware=[*stack, Middleware(in_the_stack, started=started)])


def in_the_stack(app: AsgiApp, started: Started) -> AsgiApp:
    return RealtimeApp(started, app, "/realtime")


async def until_word(lines: AsyncIterator[str], word: str) -> str:
    async for line in lines:
        if word in line:
            return line
    raise AssertionError(f"the stream ended before {word}")


@pytest.mark.parametrize("placed", [mounted, as_middleware])
@pytest.mark.parametrize("name", STACKS)
async def test_a_stream_is_live_inside_middleware_and_its_end_is_noticed_on_both_sides(
    name: str, placed: Callable[[Started, list[Middleware]], AsgiApp]
) -> None:
    started = Started()
    async with (
        uvicorn_with(placed(started, STACKS[name]), ws="websockets-sansio") as (server, port),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as http,
    ):
        path = "/realtime/events?channel=ping_update"
        async with http.stream("GET", path) as response:
            lines = response.aiter_lines()
            await until_word(lines, "subscribed")
            started.log.broadcast("ping_update", json.dumps({"n": 1}))
            assert '"n": 1' in await until_word(lines, "payload")
        await started.node.until_alone()
        async with http.stream("GET", path) as response:
            lines = response.aiter_lines()
            await until_word(lines, "subscribed")
            server.should_exit = True
            started.node.begin_drain()
            await until_word(lines, "event: close")
    await started.stop()
