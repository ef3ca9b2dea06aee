"""Limits of an address and of a viewer, on every carrier."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import jwt
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from flowcraft import Settings
from flowcraft.adapters.jwt import JwtAuthorizer
from tests.support.carriers import SECRET, OpenStage, Stage, dedicated, mounted, on_uvicorn, until

EVERY_CARRIER = {
    "dedicated": dedicated,
    "direct": mounted,
    "messages": on_uvicorn("websockets-sansio", direct=False),
}
everywhere = pytest.mark.parametrize("carrier", EVERY_CARRIER.values(), ids=EVERY_CARRIER)


def settings(**changed: object) -> Settings:
    return Settings(drain_seconds=0.01, **changed)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def token(subject: str) -> str:
    return jwt.encode({"sub": subject, "exp": int(time.time()) + 60}, SECRET, algorithm="HS256")


async def closing(client: ClientConnection) -> tuple[int, str]:
    await asyncio.wait_for(client.wait_closed(), 10)
    assert client.close_code is not None
    assert client.close_reason is not None
    return client.close_code, client.close_reason


@everywhere
async def test_one_address_has_a_bounded_number_of_connections_of_every_kind(carrier: OpenStage) -> None:
    async with carrier(settings(connections_per_address=2), None) as stage, AsyncExitStack() as open_:
        first = await open_.enter_async_context(connect(stage.address))
        await open_.enter_async_context(connect(stage.address))
        with pytest.raises(InvalidStatus) as refused:
            await connect(stage.address)
        assert refused.value.response.status_code == 503
        assert "Retry-After" in refused.value.response.headers
        assert stage.node.counts.refused == 1
        stream = f"GET /realtime/events?channel=ping_update HTTP/1.1\r\nHost: {netloc(stage)}\r\n\r\n"
        assert b" 503 " in (await answered(stage, stream.encode())).split(b"\r\n")[0]
        await first.close()
        await until(lambda: stage.node.report().connections == 1)
        await open_.enter_async_context(connect(stage.address))


async def test_an_address_is_the_one_that_a_trusted_proxy_names() -> None:
    spoofed = {"X-Forwarded-For": "192.0.2.1, 192.0.2.7"}
    async with (
        dedicated(settings(connections_per_address=1, trusted_proxies=("127.0.0.1",)), None) as stage,
        connect(stage.address, additional_headers=spoofed),
        connect(stage.address, additional_headers={"X-Forwarded-For": "192.0.2.1"}),
    ):
        gateways = stage.node._gateways.values()  # pyright: ignore[reportPrivateUsage]
        assert sorted(one._origin for one in gateways) == [  # pyright: ignore[reportPrivateUsage]
            "connection 1 from 192.0.2.7",
            "connection 2 from 192.0.2.1",
        ]
        with pytest.raises(InvalidStatus):
            await connect(stage.address, additional_headers={"X-Forwarded-For": "9.9.9.9, 192.0.2.7"})


async def test_without_a_trusted_proxy_no_header_chooses_the_address() -> None:
    async with (
        dedicated(settings(connections_per_address=1), None) as stage,
        connect(stage.address, additional_headers={"X-Forwarded-For": "192.0.2.7"}),
    ):
        for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
            with pytest.raises(InvalidStatus):
                await connect(stage.address, additional_headers={name: "192.0.2.8"})


@everywhere
async def test_one_viewer_has_a_bounded_number_of_connections(carrier: OpenStage) -> None:
    async with (
        carrier(settings(connections_per_viewer=2), JwtAuthorizer(SECRET)) as stage,
        AsyncExitStack() as open_,
    ):
        clients = [await open_.enter_async_context(connect(stage.address)) for _ in range(4)]
        for client, subject in zip(clients, ("ada", "ada", "bob", "ada"), strict=True):
            await client.send(json.dumps({"auth": token(subject)}))
        assert await closing(clients[3]) == (4504, "at most 2 connections of one viewer")
        await clients[0].close()
        await until(lambda: stage.node.report().connections == 2)
        again = await open_.enter_async_context(connect(stage.address))
        await again.send(json.dumps({"auth": token("ada")}))
        await again.recv()
        assert "authenticated" in json.loads(await again.recv())
    assert len(stage.node._context.viewers) == 0  # pyright: ignore[reportPrivateUsage]
    assert len(stage.node._addresses) == 0  # pyright: ignore[reportPrivateUsage]


def netloc(stage: Stage) -> str:
    return urlsplit(stage.address).netloc


async def answered(stage: Stage, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(stage.address).port)
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    finally:
        writer.close()
