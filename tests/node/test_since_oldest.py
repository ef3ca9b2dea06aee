"""A subscription since the oldest: everything that the log still has, on a database too."""

from __future__ import annotations

import json

from websockets.asyncio.client import connect

from flowcraft import Channels, Event, Realtime, Settings, migrate
from flowcraft.adapters.postgres.log import PostgresLog
from tests.support.postgres import connected
from tests.support.served import served, until


class Note(Event):
    n: int


channels = Channels()
notes = channels.declare("notes.{book}", Note, params={"book": int})


async def test_everything_that_the_log_still_has_comes_first(database: str) -> None:
    await migrate(database, channels)
    realtime = Realtime(channels, dsn=database)
    async with served(realtime) as (_, address), connected(database) as connection:
        for n in range(3):
            await realtime.broadcast(notes(7), Note(n=n))
            await realtime.broadcast(notes(8), Note(n=n))
        log = PostgresLog(database)
        try:
            await log.trim(
                before=int(
                    await connection.fetchval(
                        "select xid::text::bigint from flowcraft.event order by id offset 2 limit 1"
                    )
                )
            )
        finally:
            await log.close()
        async with connect(address) as client, connect(address) as other:
            request = {"subscribe": ["notes.7"], "since": "oldest", "ref": 1}
            await client.send(json.dumps(request))
            await other.send(json.dumps({**request, "subscribe": ["notes.8"]}))
            assert [(await until(client, "payload"))["payload"]["n"] for _ in range(2)] == [1, 2]
            assert (await until(client, "subscribed"))["n"] == 2
            assert (await until(other, "subscribed"))["n"] == 2
            await realtime.broadcast(notes(7), Note(n=9))
            assert (await until(client, "payload"))["payload"]["n"] == 9


async def test_too_much_is_a_reset(database: str) -> None:
    await migrate(database, channels)
    realtime = Realtime(channels, dsn=database, settings=Settings(replay_events=2))
    async with served(realtime) as (_, address), connect(address) as client:
        for n in range(3):
            await realtime.broadcast(notes(7), Note(n=n))
        await client.send(json.dumps({"subscribe": ["notes.7"], "since": "oldest", "ref": 1}))
        reset = await until(client, "reset")
        assert (reset["reason"], reset["ref"]) == ("expired", 1)
