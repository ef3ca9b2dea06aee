"""A database that says nothing any more is given up, not waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from flowcraft.adapters.postgres import listen_connection, loop_pools
from flowcraft.adapters.postgres.listener import PostgresListener
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.adapters.postgres.service import PostgresRealtimeService
from flowcraft.channels import Channels
from flowcraft.errors import LogUnavailable
from flowcraft.events import Event
from tests.support.following import following, listening
from tests.support.pooler import Gate, gated
from tests.support.postgres import connected, migrated


class Noted(Event):
    n: int


channels = Channels()
note = channels.declare("note_update", Noted)
EMIT = """select flowcraft.broadcast('note_update', '{"type":"Noted","n":1}')"""


@asynccontextmanager
async def behind_a_gate(database: str, folder: Path) -> AsyncIterator[tuple[str, Gate]]:
    async with migrated(database), gated(database, folder) as (dsn, gate):
        yield dsn, gate


async def test_a_read_and_a_broadcast_end_with_an_error_and_work_again_afterwards(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_pools, "ANSWER_SECONDS", 0.2)
    async with behind_a_gate(database, tmp_path) as (dsn, gate):
        log, service = PostgresLog(dsn), PostgresRealtimeService(dsn)
        start = await log.position()
        await service.broadcast(note, Noted(n=1))
        gate.close()
        async with asyncio.timeout(10):
            with pytest.raises(LogUnavailable, match="the database did not answer in time"):
                await log.tail(start.cursor)
            with pytest.raises(TimeoutError):
                await service.broadcast(note, Noted(n=2))
            gate.open()
            await service.broadcast(note, Noted(n=3))
            payloads = [record.payload for record in (await log.tail(start.cursor)).records]
        assert payloads[0] == '{"type":"Noted","n":1}'
        assert payloads[-1] == '{"type":"Noted","n":3}'
        await log.close()
        await service.close()


async def test_a_listener_finds_out_and_connects_again(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listen_connection, "ANSWER_SECONDS", 0.2)
    async with behind_a_gate(database, tmp_path) as (dsn, gate):
        listener = PostgresListener(dsn, channels, lambda _: None, check_seconds=0.05)
        async with asyncio.timeout(10), listening(listener):
            await listener.until_connected()
            gate.close()
            await listener.until_disconnected()
            assert str(listener.last_error) == "the database did not answer in time"
            gate.open()
            await listener.until_connected()


async def test_when_new_connections_work_again_the_log_is_followed_within_two_seconds(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_pools, "ANSWER_SECONDS", 2.0)
    loop = asyncio.get_running_loop()
    async with behind_a_gate(database, tmp_path) as (dsn, gate), connected(database) as connection:
        log = PostgresLog(dsn)
        async with following(log, dsn, 1.0) as followed:
            gate.close()
            await connection.execute(EMIT)
            await asyncio.sleep(7)  # the fault itself: longer than any answer is waited for
            gate.open_for_new_ones()
            healed = loop.time()
            await followed.until_read(1)
            await connection.execute(EMIT)
            await followed.until_read(2)
            assert loop.time() - healed < 8, "an attempt to connect ends after 2 s"
        await log.close()


async def test_whoever_stops_does_not_wait_for_a_database_that_says_nothing(
    database: str, tmp_path: Path
) -> None:
    async with behind_a_gate(database, tmp_path) as (dsn, gate):
        log = PostgresLog(dsn)
        start = await log.position()
        gate.close()
        reading = asyncio.create_task(log.tail(start.cursor))
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await log.close()
        log = PostgresLog(dsn)
        gate.open()
        await log.position()
        gate.close()
        async with asyncio.timeout(5):
            await log.close()
