"""Behind a pooler in transaction mode everything works, without prepared statements and by polling."""

from __future__ import annotations

import asyncio
from pathlib import Path

from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.adapters.postgres.service import PostgresRealtimeService
from flowcraft.channels import Channels
from flowcraft.events import Event
from tests.support.following import following
from tests.support.postgres import connected
from tests.support.transaction_pooler import pooling_transactions


class Noted(Event):
    n: int


channels = Channels()
note = channels.declare("note_update", Noted)


async def test_reads_and_broadcasts_do_not_depend_on_what_another_transaction_prepared(
    database: str, tmp_path: Path
) -> None:
    await migrate(database, channels)
    async with pooling_transactions(database, tmp_path) as pooled:
        log, service = PostgresLog(pooled), PostgresRealtimeService(pooled)
        start = await log.position()

        async def use() -> None:
            for n in range(20):
                await service.broadcast(note, Noted(n=n))
                await log.tail(start.cursor)

        await asyncio.gather(*(use() for _ in range(4)))
        assert len((await log.tail(start.cursor)).records) == 80
        await service.close()
        await log.close()


async def test_a_ring_that_comes_back_within_one_transaction_is_no_proof(
    database: str, tmp_path: Path
) -> None:
    await migrate(database, channels)
    async with pooling_transactions(database, tmp_path, size=1) as pooled, connected(database) as connection:
        log = PostgresLog(pooled)
        async with following(log, pooled, probe_seconds=0.1, polling_seconds=0.01) as followed:
            assert followed.listener.state == "polling"
            assert "do not come through" in str(followed.listener.trouble)
            await connection.execute(
                """select flowcraft.broadcast('note_update', '{"type":"Noted","n":1}')"""
            )
            await followed.until_read(1)
        # A session that others use too must not hold locks.
        assert await connection.fetchval("select count(*) from pg_locks where locktype = 'advisory'") == 0
        await log.close()
