"""Unreadable rows: one event that does not decode, or is not JSON, is skipped on its channel and no more."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest
from websockets.asyncio.client import ClientConnection, connect

from flowcraft import Channels, Event, Realtime, Settings, migrate
from flowcraft.adapters.postgres.log import PostgresLog, records
from flowcraft.adapters.postgres.log_pages import PAGE_EVENTS
from flowcraft.adapters.postgres.unusual_rows import decode
from flowcraft.records import Record, Unreadable
from flowcraft.testing.databases import DatabaseServer as Postgres
from tests.support.postgres import connected
from tests.support.served import served, until

SECONDS = 30.0
_serial = itertools.count(1)
_EMIT = "select flowcraft.broadcast($1, $2::text::json)"
_INSERT = "insert into flowcraft.event (channel, payload) values ($1, $2)"


class Said(Event):
    """A text."""

    body: str


channels = Channels()
channels.declare("bad_update", Said)
channels.declare("good_update", Said)


@pytest.fixture(params=["sql_ascii", "euc_jis_2004"])
def odd_database(request: pytest.FixtureRequest, postgres: Postgres) -> Iterator[str]:
    """A database in which texts can be stored that UTF-8 does not have."""
    name = f"odd_{os.getpid()}_{next(_serial)}"
    dsn = postgres.create_database(f"{name}_template")

    async def create() -> None:
        async with connected(dsn) as connection:
            provider = "locale_provider libc" if connection.get_server_version().major >= 15 else ""
            await connection.execute(
                f"create database {name} encoding '{request.param}' template template0 {provider} "
                "lc_collate 'C' lc_ctype 'C'"
            )

    asyncio.run(create())
    yield dsn.replace(f"{name}_template", name)
    postgres.drop_database(name)
    postgres.drop_database(f"{name}_template")


def _undecodable(encoding: str) -> str:
    """Return an expression for text that is stored and cannot be sent as UTF-8."""
    return {"SQL_ASCII": "chr(233)", "EUC_JIS_2004": "convert_from('\\xa4fe', 'EUC_JIS_2004')"}[encoding]


@pytest.mark.parametrize("good", [3, PAGE_EVENTS + 500])
async def test_a_row_that_does_not_decode_keeps_back_no_other_in_a_read_of_any_size(
    odd_database: str, good: int
) -> None:
    log = PostgresLog(odd_database)
    async with connected(odd_database) as connection:
        await migrate(connection, channels)
        start = (await log.position()).cursor
        encoding = await connection.fetchval("show server_encoding")
        await connection.execute(f"""
            insert into flowcraft.event (channel, payload)
            select 'good_update', n::text from generate_series(1, {good}) as n
            union all select 'bad_update', '"' || {_undecodable(encoding)} || '"'
        """)
    batch = await log.tail(start)
    await log.close()
    assert len(batch.records) == good
    assert [event.channel for event in batch.unreadable] == ["bad_update"]


async def _subscribe(client: ClientConnection, *names: str, since: str | None = None) -> None:
    await client.send(json.dumps({"subscribe": names} | ({"since": since} if since else {})))


async def _stored(connection: asyncpg.Connection[asyncpg.Record], channel: str) -> str:
    """Store one text that does not decode; return how the encoding is called."""
    encoding: str = await connection.fetchval("select getdatabaseencoding()")
    body = _undecodable(encoding)
    await connection.execute(
        f"""insert into flowcraft.event (channel, payload) values ($1, '{{"body":"caf' || {body} || '"}}')""",
        channel,
    )
    return encoding


@pytest.fixture
async def connection(odd_database: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    await migrate(odd_database, channels)
    async with connected(odd_database) as connection:
        yield connection


async def test_a_row_that_does_not_decode_is_told_from_those_that_do(
    odd_database: str, connection: asyncpg.Connection[asyncpg.Record]
) -> None:
    log = PostgresLog(odd_database)
    try:
        start = (await log.position()).cursor
        await connection.execute(_EMIT, "good_update", '{"body":"a\\\\b \\\\x41"}')
        await _stored(connection, "bad_update")
        await connection.execute(_EMIT, "good_update", '{"body":"after"}')
        for batch in (await log.tail(start), await log.replay(start, ["good_update", "bad_update"])):
            assert [(r.id, r.channel, r.payload) for r in batch.records] == [
                (1, "good_update", '{"body":"a\\\\b \\\\x41"}'),
                (3, "good_update", '{"body":"after"}'),
            ]
            assert [(u.id, u.channel) for u in batch.unreadable] == [(2, "bad_update")]
            assert (await log.tail(batch.cursor)).unreadable == ()
        assert (await log.replay(start, ["good_update"])).unreadable == ()
    finally:
        await log.close()


async def test_a_log_whose_newest_row_does_not_decode_is_followed_from_there(
    odd_database: str, connection: asyncpg.Connection[asyncpg.Record]
) -> None:
    await _stored(connection, "bad_update")
    log = PostgresLog(odd_database)
    try:
        start = (await log.position()).cursor
        await connection.execute(_EMIT, "good_update", '{"body":"after"}')
        assert [r.id for r in (await log.tail(start)).records] == [2]
    finally:
        await log.close()


@pytest.mark.parametrize("payload", ["nonsense", '{"body":', '{"body":"a"} x', '{"body":"\n"}', "NaN", ""])
async def test_a_payload_that_is_not_json_is_skipped_on_its_channel_and_breaks_no_frame(
    database: str, payload: str
) -> None:
    await migrate(database, channels)
    realtime = Realtime(channels, dsn=database, settings=Settings(drain_seconds=0.01))
    async with connected(database) as writer, realtime, served(realtime) as (node, address):
        async with connect(address) as both, connect(address) as good:
            await _subscribe(both, "bad_update", "good_update")
            await _subscribe(good, "good_update")
            since = (await until(both, "subscribed"))["cursor"]
            await until(good, "subscribed")
            async with writer.transaction():
                await writer.execute(_EMIT, "good_update", '{"body":"before"}')
                await writer.execute(_INSERT, "bad_update", payload)
            for client in (both, good):
                assert (await until(client, "channel"))["payload"] == {"type": "Said", "body": "before"}
            skipped = {"channel": "bad_update", "skipped": {"reason": "unreadable"}, "id": 2}
            assert await until(both, "channel") == skipped
            passed = (await until(both, "cursor"))["cursor"]
            await writer.execute(_EMIT, "bad_update", '{"body":"after"}')
            assert (await until(both, "channel"))["payload"] == {"type": "Said", "body": "after"}
        async with connect(address) as back:
            await _subscribe(back, "good_update", since=since)
            assert (await until(back, "subscribed"))["n"] == 1
            await _subscribe(back, "bad_update", since=since)
            assert await until(back, "channel") == skipped
            assert (await until(back, "subscribed"))["n"] == 2
            await _subscribe(back, "bad_update", since=passed)
            assert (await until(back, "subscribed"))["n"] == 1
        counts = node.report().counts
        assert (counts.failures["event"], counts.resets["unreadable"]) == (1, 0)


def test_what_browsers_read_is_delivered_although_our_own_reader_refuses_it() -> None:
    payloads = ['"\\ud800"', "1e999", "1" + "0" * 5_000, "[" * 2_000 + "]" * 2_000]
    rows = [(n, 700, "good_update", payload, None, None, b"e") for n, payload in enumerate(payloads)]
    found, unreadable = records(rows)
    assert found == tuple(Record(700, n, "good_update", payload) for n, payload in enumerate(payloads))
    assert unreadable == []


def test_bytes_are_decoded_in_the_encoding_of_the_database() -> None:
    def row(payload: bytes) -> tuple[object, ...]:
        return 1, 700, b"good_update", payload, None, None, b"e"

    for encoding, payload, text in [
        ("UTF8", b"\xc3\xa9", "é"),
        ("SQL_ASCII", b"\xc3\xa9", "é"),
        ("LATIN1", b"\xe9", "é"),
        ("WIN1252", b"\x80", "€"),
        ("KOI8R", b"\xc1", "а"),  # noqa: RUF001
        ("EUC_JP", b"\xa4\xa2", "あ"),
    ]:
        (decoded,), unreadable = decode([row(payload)], encoding)
        assert (decoded.payload, unreadable) == (text, [])
    for encoding in ("UTF8", "SQL_ASCII", "EUC_TW"):
        assert decode([row(b"\xe9")], encoding)[1][0].id == 1
    assert decode([(1, 700, b"\xe9", b"{}", None, None, b"e")], "UTF8") == (
        [],
        [Unreadable(700, 1, "\\xe9", "its text does not decode as UTF8")],
    )
