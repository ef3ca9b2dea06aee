"""The examples of the guide to security: sessions of Starlette and of Django."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from flowcraft.viewers import Handshake, Headers
from tests.support.page_examples import example

ROOT = Path(__file__).parents[2]


def request(**cookies: str) -> Handshake:
    return Handshake("/realtime", Headers({}), cookies, None, "")


def test_the_login_of_django_proves_the_viewer(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.security.django_login", str(tmp_path / "django.sqlite")]
    found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=50)
    assert json.loads(found.stdout) == {
        "signed in": ["private.1"],
        "another key": 4501,
        "another page": 4501,
        "another password": 4501,
    }


@pytest.mark.asyncio
async def test_the_session_of_starlette_proves_the_viewer() -> None:
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.sessions import SessionMiddleware
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    def login(request: Request) -> Response:
        request.session["user"] = "ann"
        return Response()

    app = Starlette(
        routes=[Route("/login", login)],
        middleware=[Middleware(SessionMiddleware, secret_key="a secret")],
    )
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        cookie = (await client.get("/login")).cookies["session"]
    sessions = example("guides/security.md", "starlette_sessions.py").StarletteSessions
    viewer = await sessions("a secret").authenticate_request(request(session=cookie))
    assert viewer.subject == "ann"
    assert abs(viewer.expires_at - time.time() - 14 * 86_400) < 60
    for wrong in ("", "x", cookie[:-1], "x" + cookie):
        assert await sessions("a secret").authenticate_request(request(session=wrong)) is None
    assert await sessions("another secret").authenticate_request(request(session=cookie)) is None
    assert await sessions("a secret", max_age=-1).authenticate_request(request(session=cookie)) is None
