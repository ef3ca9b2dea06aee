"""`flowcraft doctor` for logins: why a token or an origin is refused, in an embedded application too."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import jwt
import pytest
from click.testing import CliRunner

from flowcraft import Channels, Event, JwtAuthorizer, MemoryBackend, Realtime, Settings
from flowcraft.entrypoints.cli import app
from flowcraft.entrypoints.commands.target import websocket_url
from tests.support.carriers import uvicorn_with

SECRET = "a secret of at least forty-eight bytes, for HS384 too"
END = 4_000_000_000
MODULE = f"""
from flowcraft import Channels, JwtAuthorizer, MemoryBackend, Realtime, Settings

realtime = Realtime(
    Channels(),
    backend=MemoryBackend(),
    authorizer=JwtAuthorizer({SECRET!r}, audience="shop"),
    settings=Settings(allowed_origins=("https://a.example",)),
)
"""


class Noted(Event):
    n: int


@asynccontextmanager
async def serving() -> AsyncIterator[str]:
    """The same configuration in an application, below a prefix."""
    channels = Channels()
    channels.declare("system", Noted)
    realtime = Realtime(
        channels,
        backend=MemoryBackend(),
        authorizer=JwtAuthorizer(SECRET, audience="shop"),
        settings=Settings(allowed_origins=("https://a.example",), auth_timeout_seconds=0.5),
    )
    async with uvicorn_with(realtime.asgi(path="/api/live")) as (_, port):
        yield f"http://127.0.0.1:{port}/api/live"
    await realtime.stop()


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "live.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    for name in ("FLOWCRAFT_DSN", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


async def doctor(*arguments: str) -> dict[str, tuple[str, str]]:
    words = ["doctor", "live:realtime", "--quick", "--json", *arguments]
    done = await asyncio.to_thread(CliRunner().invoke, app, words, prog_name="flowcraft")
    assert "Traceback" not in done.output
    return {line["about"]: (line["verdict"], line["sentence"]) for line in json.loads(done.stdout)}


def token(secret: str = SECRET, **claims: object) -> str:
    return jwt.encode({"sub": "ada", "exp": END, "aud": "shop", **claims}, secret, algorithm="HS256")


GOOD = token()
REFUSED = {
    "of another audience": (token(aud="admin"), "it is for another audience", "aud 'admin'"),
    "of another key": (
        token("another secret of at least thirty-two bytes"), "its signature is not of the key", "sub 'ada'",
    ),
    "expired": (token(exp=1_700_000_000), "it expired", ", expired "),
    "without an end": (token(exp=None), "it lacks one of exp", "no exp"),
    "no JWT": ("a.b", "it is malformed", "it is not a JWT"),
    "another algorithm": (
        jwt.encode({"sub": "ada"}, SECRET, algorithm="HS384"), "its algorithm is 'HS384'", "alg 'HS384'",
    ),
}  # fmt: skip


async def test_the_reason_for_a_refused_token_is_that_of_the_projects_authorizer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as url:
        found: dict[str, tuple[str, str]] = {}
        with caplog.at_level(logging.WARNING):
            for name, (bad, reason, claims) in REFUSED.items():
                found = await doctor("--url", url, "--token", bad, "--origin", "https://a.example")
                assert found["login"][0] == "wrong", name
                assert f"the authorizer of this project: {reason}" in found["login"][1], name
                assert claims in found["login"][1], name
                assert bad.rpartition(".")[2] not in found["login"][1], "the signature is not printed"
        assert "12 by token" in found["refused"][1]
        assert found["server"][0] == "ok"
    logged = [
        r.getMessage().partition("token refused ")[2] for r in caplog.records if "token refused" in r.msg
    ]
    assert [line.partition(": ")[0] for line in logged] == [f"({n} since the start)" for n in (1, 2, 4, 8)], (
        "warnings of the first refusal, and then ever fewer"
    )
    assert logged[0] == "(1 since the start): it is for another audience"


async def test_a_good_token_is_accepted_and_without_one_the_login_is_named() -> None:
    async with serving() as url:
        good = await doctor("--url", url, "--token", GOOD, "--origin", "https://a.example")
        assert {about: verdict for about, (verdict, _) in good.items()} == {
            "database": "note", "websocket": "ok", "event stream": "ok",
            "origin": "ok", "login": "ok", "server": "ok",
        }  # fmt: skip
        without = await doctor("--url", url, "--origin", "https://a.example")
        assert without["login"][0] == "note"
        assert without["login"][1].startswith("the server wants a token")


async def test_the_origin_that_is_refused_is_named_with_the_setting() -> None:
    async with serving() as url:
        found = await doctor("--url", url, "--token", GOOD, "--origin", "https://b.example")
    assert found["websocket"][0] == "wrong"
    assert found["websocket"][1].endswith(
        'pages of https://b.example need Settings(allowed_origins=("https://b.example",))'
    )
    assert found["origin"] == ("note", "the allowed_origins of this project: 'https://a.example'")
    assert found["login"][0] == "ok", "a token is judged by itself"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://127.0.0.1:8000", "ws://127.0.0.1:8000/realtime"),
        ("https://app.example", "wss://app.example/realtime"),
        ("https://app.example/api/live", "wss://app.example/api/live"),
        ("ws://127.0.0.1:8400/", "ws://127.0.0.1:8400/"),
        ("ws://127.0.0.1", "ws://127.0.0.1/realtime"),
    ],
)
def test_the_address_of_a_server_is_that_of_its_websocket(given: str, url: str) -> None:
    assert websocket_url("--url", given) == url
