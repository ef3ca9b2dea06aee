"""The real TypeScript client, on Node, against a server that takes its time to check a token."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from flowcraft.core.session import Session
from flowcraft.settings import Settings
from flowcraft.viewers import Viewer
from tests.support.carriers import QUICK, OpenStage, dedicated, mounted, until
from tests.support.middlebox import Passes, middlebox
from tests.support.strangers import Made

ROOT = Path(__file__).parents[2]
CLIENT = ("node", "--experimental-websocket", "--no-warnings", "tests/support/subscribing.mjs")
MOST = 128
NAMES = [f"a_channel_family_with_a_longish_name.{n:063}" for n in range(MOST)]
SHORTEST_REQUEST = '{"subscribe":[""],"ref":1}'


class Slow:
    """Checks a token when it is released."""

    required = True

    def __init__(self) -> None:
        self.released = asyncio.Event()

    async def authenticate(self, token: str) -> Viewer:
        assert token == "t"
        await self.released.wait()
        return Viewer("ada")


@asynccontextmanager
async def subscribing(
    address: str, how: str, channels: list[dict[str, str]]
) -> AsyncIterator[asyncio.StreamReader]:
    """Run the client; what it prints."""
    client = await asyncio.create_subprocess_exec(
        *CLIENT, address, how, json.dumps(channels), stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert client.stdout is not None
    try:
        yield client.stdout
    finally:
        with contextlib.suppress(ProcessLookupError):
            client.kill()
        await client.wait()


@pytest.mark.parametrize("carrier", [dedicated, mounted], ids=["dedicated", "asgi"])
@pytest.mark.parametrize("how", ["websocket", "streams"])
@pytest.mark.parametrize("cursors", ["none", "one", "one each"])
async def test_a_client_with_as_many_channels_as_it_may_have_waits_for_its_token_and_is_served(
    carrier: OpenStage, how: str, cursors: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {len(name) for name in NAMES} == {100}
    slow, sessions = Slow(), Made(monkeypatch, Session)
    settings = Settings(drain_seconds=0.01, auth_timeout_seconds=60)
    async with asyncio.timeout(60), carrier(settings, slow) as stage:
        for n in range(MOST):
            await stage.ping(n)
        firsts = {"none": None, "one": [700] * MOST, "one each": range(700, 700 + MOST)}[cursors]
        channels = [{"name": name} for name in NAMES]
        if firsts is not None:
            channels = [c | {"since": f"1/1.0/{n}:"} for c, n in zip(channels, firsts, strict=True)]
        all_of_it = MOST * (100 + (len(SHORTEST_REQUEST) if cursors == "one each" else 0))
        async with subscribing(stage.address, how, channels) as printed:
            await until(lambda: sum(sessions.waiting_bytes()) > all_of_it)
            slow.released.set()
            assert json.loads(await printed.readline()) == {"status": "open", "attempts": 0, "code": None}


ONE_SIDED = [Passes.FROM_SERVER, Passes.NOTHING, Passes.FROM_CLIENT]


@pytest.mark.parametrize("carrier", [dedicated, mounted], ids=["dedicated", "asgi"])
@pytest.mark.parametrize("passes", ONE_SIDED, ids=lambda passes: passes.value)
async def test_a_client_is_served_by_a_stream_where_only_some_frames_of_a_websocket_pass(
    carrier: OpenStage, passes: Passes
) -> None:
    """Also where the server's frames arrive: it answers nothing, and closes after 5 s without a token."""
    slow = Slow()
    slow.released.set()
    async with (
        asyncio.timeout(50),
        carrier(QUICK, slow) as stage,
        middlebox(stage.address, passes) as address,
        subscribing(address, "websocket", [{"name": "ping_update"}]) as printed,
    ):
        assert json.loads(await printed.readline())["status"] == "open"
