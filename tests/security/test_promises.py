"""Sentences of the security guide that no other test holds, each on a server that a client connects to."""

from __future__ import annotations

import json
import logging
from typing import Any

import asyncpg
import jwt
import pytest
from websockets.asyncio.client import ClientConnection, connect

from flowcraft import Channels, Event, Realtime, Settings
from flowcraft.adapters.jwt import JwtAuthorizer
from flowcraft.adapters.postgres.schema import migrate
from tests.support.carriers import QUICK, SECRET, OpenStage, dedicated, mounted
from tests.support.event_streams import listening
from tests.support.postgres import connected

everywhere = pytest.mark.parametrize("carrier", [dedicated, mounted], ids=["dedicated", "asgi"])


def token(**claims: object) -> str:
    return jwt.encode({"sub": "ada", "exp": 2**33, **claims}, SECRET)


async def received(client: ClientConnection, member: str) -> dict[str, Any]:
    while member not in (frame := json.loads(await client.recv())):
        pass
    return dict(frame)


@everywhere
async def test_a_connection_needs_a_new_token_after_the_longest_lifetime_whatever_its_exp_is(
    carrier: OpenStage,
) -> None:
    settings = Settings(drain_seconds=0.01, token_lifetime_seconds=1.2)
    async with carrier(settings, JwtAuthorizer(SECRET, required=True)) as stage:
        async with connect(stage.address) as client:
            await client.send(json.dumps({"auth": token()}))
            assert (await received(client, "authenticated"))["authenticated"] == {"expires_in": 1}
            await client.wait_closed()
        assert (client.close_code, client.close_reason) == (4401, "token expired")
        async with listening(stage, "?channel=ping_update", Authorization=f"Bearer {token()}") as stream:
            assert (await stream.until("code"))["code"] == 4401


@everywhere
async def test_where_tokens_are_not_required_channels_with_a_guard_stay_closed_to_clients_without_one(
    carrier: OpenStage,
) -> None:
    async with carrier(QUICK, JwtAuthorizer(SECRET, required=False)) as stage:
        query = "?channel=private.ada&channel=ping_update"
        async with connect(stage.address + query) as client, listening(stage, query) as stream:
            for refused, allowed in (
                (await received(client, "error"), await received(client, "subscribed")),
                (await stream.until("error"), await stream.until("subscribed")),
            ):
                assert (refused["error"]["code"], refused["error"]["channel"]) == ("forbidden", "private.ada")
                assert allowed["subscribed"] == ["ping_update"]
            await client.send(json.dumps({"auth": token()}))
            await client.send('{"subscribe":["private.ada"]}')
            assert (await received(client, "subscribed"))["subscribed"] == ["private.ada"]


REFUSED = {
    "of another key": jwt.encode({"sub": "ada", "exp": 2**33}, "another secret of thirty-two bytes!!"),
    "expired": token(exp=1),
    "nonsense": "nonsense-that-is-no-token",
    "that names a key set of its own": jwt.encode(
        {"sub": "ada", "exp": 2**33},
        "another secret of thirty-two bytes!!",
        headers={"jku": "http://127.0.0.1:9/keys", "x5u": "http://127.0.0.1:9/keys", "jwk": {"kty": "oct"}},
    ),
}


@everywhere
@pytest.mark.parametrize("kind", REFUSED)
async def test_each_refused_token_is_one_line_with_reason_number_and_address_and_not_the_token(
    carrier: OpenStage, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    text = REFUSED[kind]
    caplog.set_level(logging.DEBUG)
    async with carrier(QUICK, JwtAuthorizer(SECRET, required=True)) as stage:
        async with connect(stage.address) as client:
            await client.send(json.dumps({"auth": text}))
            await client.wait_closed()
        lines = [one.getMessage() for one in caplog.records if "token refused" in one.getMessage()]
        assert len(lines) == 1
        assert lines[0].startswith("connection 1 from 127.0.0.1:")
        assert lines[0].partition("token refused (1 since the start): ")[2]
        async with listening(stage, "?channel=ping_update", Authorization=f"Bearer {text}") as stream:
            assert stream.response.status_code == 401
        ours = [one.getMessage() for one in caplog.records if one.name.startswith("flowcraft")]
        assert sum("token refused" in one for one in ours) == 2
        assert not any(part in one for one in ours for part in text.split(".") if len(part) > 8)
        assert stage.node.counts.refusals["token"] == 2


class Secret(Event):
    """Something with a text."""

    text: str


async def test_events_of_the_log_do_not_travel_in_notifications_and_ephemeral_ones_do(database: str) -> None:
    channels = Channels()
    kept = channels.declare("kept_update", Secret)
    passing = channels.declare("passing_update", Secret, durable=False)
    heard: list[tuple[str, str]] = []
    async with connected(database) as owner:
        await migrate(owner, channels)
        name = await owner.fetchval("select current_database()")
        topics = ["flowcraft_wakeup", "flowcraft_readers", "flowcraft_ephemeral"]
        await owner.execute(f"create role listener_of_{name} login")
        listener: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
            database.replace("//postgres@", f"//listener_of_{name}@")
        )
        try:
            for topic in topics:
                await listener.add_listener(
                    topic, lambda _c, _p, at, payload: heard.append((at, str(payload)))
                )
            async with Realtime(channels, dsn=database) as realtime:
                await (await realtime.start()).until_accepting()
                await realtime.broadcast(kept, Secret(text="kept secret"))
                await realtime.broadcast(passing, Secret(text="passing secret"))
                await listener.execute("select 1")
                while not any(at == "flowcraft_ephemeral" for at, _ in heard):
                    await listener.execute("select pg_sleep(0.01)")
        finally:
            await listener.close()
            await owner.execute(f"drop role listener_of_{name}")
    assert any("passing secret" in payload for _, payload in heard)
    assert not any("kept secret" in payload for _, payload in heard)
    # A listener sends itself a number, to see that notifications arrive.
    assert all(len(payload) in (0, 16) for at, payload in heard if at != "flowcraft_ephemeral")
