"""Hostile numbers: what a client or an operator makes up is refused at once, and disturbs nobody's replay."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import httpx
import pytest
from click.testing import CliRunner
from websockets.asyncio.client import ClientConnection, connect

from flowcraft import Channels, Event, Realtime, Settings, migrate
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.cursors import Cursor, Snapshot
from flowcraft.entrypoints.cli import app
from flowcraft.errors import CursorMalformed, CursorUnusable
from flowcraft.records import Limit
from flowcraft.xids import LARGEST_XID
from tests.support.served import served, until

SECONDS = 30.0


class Counted(Event):
    """A number."""

    n: int


channels = Channels()
count_update = channels.declare("count_update", Counted)


@pytest.fixture
async def realtime(database: str) -> AsyncIterator[Realtime]:
    await migrate(database, channels)
    # Nothing is kept in memory: every replay is read from the database.
    settings = Settings(drain_seconds=0.01, recent_bytes=1)
    async with Realtime(channels, dsn=database, settings=settings) as realtime:
        yield realtime


async def start(realtime: Realtime, client: ClientConnection) -> str:
    """Return a cursor after which there are two events, which are not in memory."""
    await client.send('{"subscribe":["count_update"]}')
    cursor: str = (await until(client, "subscribed"))["cursor"]
    for n in (1, 2):
        await realtime.broadcast(count_update, Counted(n=n))
        await until(client, "channel")
    return cursor


def hostile(good: str) -> list[str]:
    """Return cursors of this very database with numbers that it cannot have."""
    cursor = Cursor.parse(good)
    lineage, xmax = str(cursor.lineage), cursor.snapshot.xmax
    return [
        f"{lineage}/{2**63}:",
        f"{lineage}/{2**64 - 1}:",
        f"{lineage}/{2**64}:",
        f"{lineage}/1{'0' * 400}:",
        f"{lineage}/{xmax}:{2**63}",
        f"{lineage}/{xmax}:{2**64 - 1}",
        f"{lineage}/{2**63}:{xmax}",
        f"{lineage}/{xmax}:{xmax}",
        f"{lineage}/{xmax}:3,3",
        f"{lineage}/{xmax}:4,3",
        f"{lineage}/{xmax}:0",
        f"{lineage}/0:",
        f"{lineage}/0{xmax}:",
        f"{lineage}/-1:",
        f"{2**63}/{lineage.partition('/')[2]}/{xmax}:",
        f"{cursor.lineage.system}/{2**31}.0/{xmax}:",
        f"{cursor.lineage.system}/1.{2**31}/{xmax}:",
        f"{lineage}/{xmax}:" + ",".join(map(str, range(3, 12_000))),
    ]


async def test_a_hostile_cursor_is_malformed_while_everybody_else_is_served(realtime: Realtime) -> None:
    async with served(realtime) as (_, address), connect(address) as live:
        good = await start(realtime, live)
        async with connect(address) as attacker, connect(address) as other:
            bad = hostile(good)
            for ref, cursor in enumerate(bad):
                await attacker.send(json.dumps({"subscribe": ["count_update"], "since": cursor, "ref": ref}))
                await other.send(json.dumps({"subscribe": ["count_update"], "since": good, "ref": ref}))
            for ref in range(len(bad)):
                reset = await until(attacker, "reset")
                assert (reset["reset"], reset["reason"], reset["ref"]) == (["count_update"], "malformed", ref)
                answer = await until(other, "subscribed")
                assert (answer["n"], answer["ref"]) == (2, ref)
        await realtime.broadcast(count_update, Counted(n=3))
        assert (await until(live, "channel"))["payload"]["n"] == 3


async def test_the_largest_cursor_that_can_be_is_ahead_of_the_database(realtime: Realtime) -> None:
    async with served(realtime) as (_, address), connect(address) as live, connect(address) as ahead:
        good = await start(realtime, live)
        since = f"{Cursor.parse(good).lineage}/{LARGEST_XID}:"
        await ahead.send(json.dumps({"subscribe": ["count_update"], "since": since}))
        assert (await until(ahead, "reset"))["reason"] == "rewound"
        await ahead.send(json.dumps({"subscribe": ["count_update"], "since": good, "ref": 1}))
        assert (await until(ahead, "subscribed"))["n"] == 2


@pytest.mark.parametrize("where", ["Last-Event-ID", "since"])
async def test_an_event_stream_with_a_hostile_cursor_is_reset(realtime: Realtime, where: str) -> None:
    async with served(realtime) as (_, address), connect(address) as live, httpx.AsyncClient() as client:
        good = await start(realtime, live)
        url = address.replace("ws:", "http:") + "/events"
        for cursor in [c for c in hostile(good) if len(c) < 1_000]:
            headers = {where: cursor} if where != "since" else {}
            query = {"channel": "count_update"} | ({where: cursor} if where == "since" else {})
            async with (
                asyncio.timeout(SECONDS),
                client.stream("GET", url, params=query, headers=headers) as answer,
            ):
                lines = [line async for line in _until_reset(answer)]
            assert json.loads(lines[-1])["reason"] == "malformed"
        await realtime.broadcast(count_update, Counted(n=3))
        assert (await until(live, "channel"))["payload"]["n"] == 3


async def _until_reset(answer: httpx.Response) -> AsyncIterator[str]:
    async for line in answer.aiter_lines():
        if line.startswith("data: "):
            yield line.removeprefix("data: ")
            if '"reset"' in line:
                return


@pytest.mark.parametrize(
    "frame",
    [
        '{"subscribe":["count_update"],"since":%s,"ref":18446744073709551616}',
        '{"subscribe":["count_update"],"since":%s,"ref":9007199254740992}',
        '{"subscribe":["count_update"],"since":%s,"ref":-9007199254740992}',
        '{"subscribe":["count_update"],"since":%s,"ref":1' + "0" * 400 + "}",
        '{"subscribe":["count_update"],"since":%s,"ref":1' + "0" * 5_000 + "}",
        '{"subscribe":["count_update"],"since":%s,"ref":1.5}',
        '{"subscribe":["count_update"],"since":%s,"ref":1e400}',
        '{"subscribe":["count_update"],"since":%s,"ref":true}',
        '{"settle":"9223372036854775808"}',
        '{"settle":"18446744073709551616"}',
        '{"settle":"1' + "0" * 400 + '"}',
        '{"settle":"-1"}',
        '{"settle":"007"}',
        '{"settle":"1.0"}',
        '{"settle":"1e3"}',
        '{"settle":"\\u0663"}',
        '{"settle":7}',
        '{"settle":9223372036854775808}',
    ],
)
async def test_a_number_that_cannot_be_is_a_bad_request_and_no_more(realtime: Realtime, frame: str) -> None:
    async with served(realtime) as (_, address), connect(address) as live, connect(address) as attacker:
        good = await start(realtime, live)
        await attacker.send(frame.replace("%s", json.dumps(good)))
        assert (await until(attacker, "error"))["error"]["code"] == "bad_request"
        await attacker.send(json.dumps({"subscribe": ["count_update"], "since": good, "ref": 7}))
        assert (await until(attacker, "subscribed"))["n"] == 2


async def test_what_parses_can_be_bound_to_every_statement(database: str) -> None:
    """Real cursors of this database, changed in two thousand ways."""
    await migrate(database, channels)
    random_ = random.Random(63)
    log, connection = PostgresLog(database), await asyncpg.connect(database)
    try:
        for _ in range(5):
            await connection.execute("""select flowcraft.broadcast('count_update', '{"n":1}')""")
        here = await log.position()
        edges = [
            1,
            2,
            3,
            here.snapshot.xmax - 1,
            here.snapshot.xmax,
            2**31,
            2**32,
            2**62,
            LARGEST_XID,
            LARGEST_XID + 1,
            2**64,
        ]
        outcomes: dict[str, int] = {}
        for _ in range(2_000):
            text = _changed(here.cursor, edges, random_)
            try:
                cursor = Cursor.parse(text)
            except CursorMalformed:
                outcomes["malformed"] = outcomes.get("malformed", 0) + 1
                continue
            assert str(cursor) == text
            limit = Limit(10, 1_000)
            for read in (log.tail(cursor, limit=limit), log.replay(cursor, ["count_update"], limit=limit)):
                try:
                    await read
                    outcome = "read"
                except CursorUnusable as error:
                    outcome = error.reason
                outcomes[outcome] = outcomes.get(outcome, 0) + 1
            # Also where the position is not looked at first.
            for names in (None, ["count_update"]):
                outcome = await _difference(connection, cursor, names)
                outcomes[outcome] = outcomes.get(outcome, 0) + 1
        assert set(outcomes) == {
            *("malformed", "read", "rewound", "expired", "other_database"),
            *("difference", "RT002"),
        }
        last = replace(here.cursor, snapshot=Snapshot(LARGEST_XID))
        assert (await log.rewound(last)).cursor.lineage.generation == 1
        assert await log.trim(before=LARGEST_XID) == 5
    finally:
        await connection.close()
        await log.close()


async def _difference(
    connection: asyncpg.Connection[asyncpg.Record], cursor: Cursor, names: list[str] | None
) -> str:
    """Bind a cursor to `flowcraft.changes`; return the state of the error that is part of its contract."""
    statement = "select * from flowcraft.changes($1::text[]::xid8[], $2::text[]::xid8[], $3::text[], 10)"
    ranges = [*cursor.snapshot.running.ranges, (cursor.snapshot.xmax, None)]
    firsts, lasts = [str(first) for first, _ in ranges], [last and str(last) for _, last in ranges]
    try:
        await connection.fetch(statement, firsts, lasts, names)
    except asyncpg.PostgresError as error:
        if error.sqlstate != "RT002":
            raise
        return "RT002"
    return "difference"


def _changed(cursor: Cursor, edges: list[int], random_: random.Random) -> str:
    """Return a cursor with some of its numbers exchanged for others, and sometimes with a letter."""

    def number(usual: int, chance: float) -> int:
        return random_.choice(edges) if random_.random() < chance else usual

    lineage = cursor.lineage
    xip = sorted({random_.choice(edges) for _ in range(random_.randrange(4))})
    text = (
        f"{number(lineage.system, 0.1)}.{number(lineage.database, 0.1)}/{lineage.timeline}.{number(0, 0.1)}/"
        f"{number(cursor.snapshot.xmax, 0.3)}:{','.join(map(str, xip)) if random_.random() < 0.5 else ''}"
    )
    if random_.random() < 0.2:
        at = random_.randrange(len(text))
        text = text[:at] + random_.choice("0123456789/.:,") + text[at + random_.randrange(2) :]
    return text


@pytest.mark.parametrize(
    "arguments",
    [
        ["tail", "--since", f"1/1.0/{2**63}:"],
        ["tail", "--since", f"1/1.0/5:{2**64}"],
        ["tail", "--count", "0"],
        ["doctor", "--event", str(2**63)],
        ["doctor", "--event", "0"],
        ["doctor", "--xid", str(2**63)],
        ["doctor", "--xid", "1" + "0" * 400],
        ["doctor", "--xid", "-1"],
        ["purge", "--channel", "Count", "--dry-run"],
    ],
    ids=" ".join,
)
def test_a_command_refuses_a_number_that_cannot_be_before_it_connects(arguments: list[str]) -> None:
    ended = CliRunner().invoke(app, [*arguments, "--dsn", "postgresql://127.0.0.1:1/nowhere"])
    assert ended.exit_code == 2, ended.output
    assert not isinstance(ended.exception, ValueError | OverflowError)
