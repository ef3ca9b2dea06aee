"""Compression on real sockets: who asks for it gets it, if the settings say so; all get the same events."""

from __future__ import annotations

import json

import pytest
from websockets.asyncio.client import ClientConnection, connect

from flowcraft.settings import Settings
from tests.carriers.test_carriers import frame, opened
from tests.support.carriers import dedicated

pytestmark = pytest.mark.asyncio
WEIGHT = "heavy " * 1000


async def told(client: ClientConnection) -> tuple[str, list[str]]:
    """The weight of the next event, and the extensions on which it came."""
    while "payload" not in (event := await frame(client)):
        pass
    return event["payload"]["weight"], [extension.name for extension in client.protocol.extensions]


async def test_with_the_setting_a_client_that_asks_gets_it_compressed_and_others_do_not() -> None:
    settings = Settings(drain_seconds=0.01, compress=True)
    async with (
        dedicated(settings, None) as stage,
        connect(stage.address, compression="deflate") as asking,
        connect(stage.address, compression=None) as other,
    ):
        for client in (asking, other):
            await opened(client, "ping_update")
        for n in range(3):
            await stage.ping(n, WEIGHT)
            assert await told(asking) == (WEIGHT, ["permessage-deflate"])
            assert await told(other) == (WEIGHT, [])


async def test_a_compressed_request_is_understood() -> None:
    settings = Settings(drain_seconds=0.01, compress=True)
    async with dedicated(settings, None) as stage, connect(stage.address, compression="deflate") as client:
        await frame(client)
        names = [f"private.{'x' * 50}{n}" for n in range(20)]
        await client.send(json.dumps({"subscribe": names}))
        assert "error" in await frame(client)


async def test_without_the_setting_nobody_gets_it() -> None:
    async with (
        dedicated(Settings(drain_seconds=0.01), None) as stage,
        connect(stage.address, compression="deflate") as client,
    ):
        await opened(client, "ping_update")
        await stage.ping(1, WEIGHT)
        assert await told(client) == (WEIGHT, [])
