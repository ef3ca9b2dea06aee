"""Middleware: which placement of ours passes it, and that frames go to uvicorn's socket from each of them."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from fastapi import Depends, FastAPI, WebSocket, WebSocketException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from flowcraft.adapters.asgi import AsgiApp, Receive, Scope, Send
from flowcraft.entrypoints.asgi import RealtimeApp
from flowcraft.settings import Settings
from tests.carriers.test_carriers import frame
from tests.support.carriers import Started, uvicorn_with

every_implementation = pytest.mark.parametrize("ws", ["websockets", "websockets-sansio", "wsproto"])


class Gate:
    """Middleware as the specification has it: who has no cookie is refused."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and (b"cookie", b"pass=1") not in scope["headers"]:
            await send({"type": "websocket.close", "code": 1008, "reason": "no cookie"})
        else:
            await self._app(scope, receive, send)


class Stamped(BaseHTTPMiddleware):
    """Middleware of Starlette's own kind, which is for HTTP."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["x-stamped"] = "1"
        return response


def cookie(socket: WebSocket) -> None:
    if socket.cookies.get("pass") != "1":
        raise WebSocketException(1008)


def around(started: Started) -> AsgiApp:
    return Gate(RealtimeApp(started, FastAPI(), "/live"))


def as_middleware(started: Started) -> AsgiApp:
    stack = [Middleware(Stamped), Middleware(Gate), Middleware(in_the_stack, started=started)]
    return FastAPI(middleware=stack)


def in_the_stack(app: AsgiApp, started: Started) -> AsgiApp:
    return RealtimeApp(started, app, "/live")


def inside(started: Started) -> AsgiApp:
    app = FastAPI(middleware=[Middleware(Stamped), Middleware(Gate)])
    app.mount("/live", RealtimeApp(started, None, "/"))
    return app


def behind_a_dependency(started: Started) -> AsgiApp:
    ours = RealtimeApp(started, None, "/")
    app = FastAPI()

    @app.websocket("/live", dependencies=[Depends(cookie)])
    async def live(socket: WebSocket) -> None:
        await ours(socket.scope, socket.receive, socket.send)

    return app


@every_implementation
@pytest.mark.parametrize("placed", [around, as_middleware, inside, behind_a_dependency])
async def test_a_gate_in_the_application_refuses_every_stranger_even_after_others_were_let_in(
    ws: str, placed: Callable[[Started], AsgiApp]
) -> None:
    started = Started()
    path = "/live/" if placed is inside else "/live"
    async with uvicorn_with(placed(started), ws=ws) as (_, port):
        answers: list[int] = []
        for headers in [{}, {"Cookie": "pass=1"}, {}, {"Cookie": "pass=1"}, {}]:
            try:
                async with connect(f"ws://127.0.0.1:{port}{path}", additional_headers=headers) as client:
                    assert "hello" in await frame(client)
                    answers.append(101)
            except InvalidStatus as refused:
                answers.append(refused.response.status_code)
        assert answers == [403, 101, 403, 101, 403]
    await started.stop()


@every_implementation
@pytest.mark.parametrize("placed", [around, as_middleware, inside, behind_a_dependency])
async def test_the_uvicorn_that_is_locked_lets_us_write_to_the_socket(
    ws: str, placed: Callable[[Started], AsgiApp]
) -> None:
    """Fails when an upgrade of uvicorn would have made this slow without a word."""
    started = Started()
    path = "/live/" if placed is inside else "/live"
    headers = {"Cookie": "pass=1"}
    async with (
        uvicorn_with(placed(started), ws=ws) as (_, port),
        connect(f"ws://127.0.0.1:{port}{path}", additional_headers=headers) as client,
    ):
        assert "hello" in await frame(client)
        assert started.by == (1, 0)
    await started.stop()


@pytest.mark.asyncio
async def test_an_applications_own_cors_middleware_repeats_no_header() -> None:
    listed = "https://app.example.com"
    settings = Settings(allowed_origins=(listed,), drain_seconds=0.01)
    started = Started(settings)
    await started.start()
    await started.node.until_accepting()
    cors = Middleware(CORSMiddleware, allow_origins=[listed], allow_credentials=True)
    app = FastAPI(middleware=[cors])
    app.mount("/live", RealtimeApp(started, None, "/", settings=settings))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
        for path, status in (("/live/healthz", 200), ("/live/events", 400), ("/live/", 426)):
            response = await client.get(path, headers={"Origin": listed})
            names = [name for name, _ in response.headers.multi_items()]
            assert (response.status_code, len(names)) == (status, len(set(names)))
            assert response.headers["access-control-allow-origin"] == listed
            assert response.headers["access-control-allow-credentials"] == "true"
    await started.stop()
