"""Servers that stop, crash, stand by and take over."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import asyncpg
import pytest

from faults.standby import copy_with_owners
from flowcraft.adapters.postgres.embedded import EmbeddedPostgres
from flowcraft.adapters.postgres.listener import PostgresListener
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.channels import Channels
from flowcraft.cursors import Cursor
from flowcraft.errors import CursorRewound, LogUnavailable
from flowcraft.records import Limit
from tests.support.following import following, listening
from tests.support.postgres import connected

if TYPE_CHECKING:
    from tests.support.postgres import Plain


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[PostgresLog]:
    log = PostgresLog(dsn)
    try:
        yield log
    finally:
        await log.close()


@pytest.mark.parametrize("were", ["read", "there before"])
async def test_commits_that_a_crash_lost_are_missed_even_when_all_their_ids_were_used_again(
    were: Literal["read", "there before"],
) -> None:
    with await asyncio.to_thread(EmbeddedPostgres.start) as server:
        await migrate(server.dsn, Channels())
        saved = await save(server)
        async with opened(server.dsn) as log:
            if were == "there before":
                await emit_all(server.dsn, range(3))
            async with following(log, server.dsn, 0.2) as followed:
                if were == "read":
                    await emit_all(server.dsn, range(3))
                    await followed.until_read(3)
                before = (await log.position()).cursor
                followed.hold()
                server.kill()
                await followed.until(lambda: followed.held)
                shutil.rmtree(server.directory)
                saved.rename(server.directory)
                await asyncio.to_thread(server.restart)
                await emit_all(server.dsn, range(10, 30))
                with pytest.raises(CursorRewound):  # it is not just too far behind
                    await log.tail(before, limit=Limit(5))
                followed.go_on()
                await followed.until(lambda: followed.beginnings == 2)
                assert followed.reasons == ["expired", "rewound"]
                after = (await log.position()).cursor
                assert after.lineage == replace(before.lineage, generation=before.lineage.generation + 1)
                assert after.snapshot.xmax > before.snapshot.xmax, "no comparison of numbers could have told"
                with pytest.raises(CursorRewound):
                    await log.tail(before)


async def test_the_loss_of_one_transaction_of_a_batch_is_missed_although_a_later_one_came_again() -> None:
    """The first of two transactions commits last, and is lost; the other comes again, with the same ids."""
    with await asyncio.to_thread(EmbeddedPostgres.start) as server:
        await migrate(server.dsn, Channels())
        saved = await save(server)
        async with opened(server.dsn) as log:
            begun = (await log.position()).cursor
            await state_two(server.dsn, "commit")
            batch = await log.tail(begun)
            late, early = sorted(batch.records, key=lambda record: record.payload, reverse=True)
            assert late.xid > early.xid
            server.kill()
            shutil.rmtree(server.directory)
            saved.rename(server.directory)
            await asyncio.to_thread(server.restart)
            await state_two(server.dsn, "rollback")
            await emit_all(server.dsn, range(10, 20))
            async with opened(server.dsn) as other:
                assert late in (await other.tail(begun)).records, "by this one it would be known again"
            with pytest.raises(CursorRewound):
                await log.tail(batch.cursor)


async def state_two(dsn: str, end: Literal["commit", "rollback"]) -> None:
    async with connected(dsn) as early, connected(dsn) as late:
        await early.execute("begin")
        await emit(early, 1)
        await late.execute("begin")
        await emit(late, 2)
        await late.execute("commit")
        await early.execute(end)


async def save(server: EmbeddedPostgres) -> Path:
    """Keep a copy of a server's directory, as it is now."""
    saved = server.directory.with_name("saved")
    server.stop()
    copy_with_owners(server.directory, saved)
    (saved / "standby.signal").unlink()
    await asyncio.to_thread(server.restart)
    return saved


async def emit_all(dsn: str, numbers: range) -> None:
    async with connected(dsn) as connection:
        for n in numbers:
            await emit(connection, n)


async def test_a_purge_is_no_loss() -> None:
    with await asyncio.to_thread(EmbeddedPostgres.start) as server:
        await migrate(server.dsn, Channels())
        async with opened(server.dsn) as log, following(log, server.dsn, 0.2) as followed:
            await emit_all(server.dsn, range(3))
            await followed.until_read(3)
            async with connected(server.dsn) as connection:
                await connection.execute("select flowcraft.purge('runs.1')")
            await asyncio.to_thread(server.restart)
            # What is committed before the reset belongs to the state that subscribers load again.
            await followed.until(lambda: followed.reasons == ["expired"])
            await emit_all(server.dsn, range(3, 5))
            await followed.until_read(5)
            assert followed.reasons == ["expired"]


async def emit(connection: Plain, n: int) -> None:
    await connection.execute("select flowcraft.broadcast('runs.1', to_json($1::int))", n)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_server_that_comes_back_is_followed_from_where_it_was(
    mode: Literal["fast", "immediate"],
) -> None:
    with await asyncio.to_thread(EmbeddedPostgres.start) as server:
        await migrate(server.dsn, Channels())
        async with opened(server.dsn) as log, following(log, server.dsn, 0.2) as followed:
            async with connected(server.dsn) as connection:
                await emit(connection, 1)
                await followed.until_read(1)
                await emit(connection, 2)
            await asyncio.to_thread(server.restart, mode)
            async with connected(server.dsn) as connection:
                await emit(connection, 3)
            await followed.until_read(3)
            assert followed.payloads == ["1", "2", "3"]
            assert followed.beginnings == 1


@asynccontextmanager
async def standby_of_a_log() -> AsyncIterator[tuple[str, Cursor]]:
    """Lend the address of a standby, and a cursor that its former primary gave."""
    with await asyncio.to_thread(EmbeddedPostgres.start) as primary:
        await migrate(primary.dsn, Channels())
        async with opened(primary.dsn) as log:
            cursor = (await log.position()).cursor
        primary.stop()
        copy = primary.directory.with_name("standby")
        copy_with_owners(primary.directory, copy)
        with await asyncio.to_thread(EmbeddedPostgres.start, copy) as standby:
            yield standby.dsn, cursor


async def test_a_standby_is_not_read_and_its_promotion_is_another_history() -> None:
    async with (
        standby_of_a_log() as (dsn, cursor),
        opened(dsn) as log,
        connected(dsn) as connection,
        listening(listener := PostgresListener(dsn, Channels(), lambda _: None)),
    ):
        with pytest.raises(LogUnavailable, match="this server is a standby; the log is read on the primary"):
            await log.position()
        with pytest.raises(LogUnavailable, match="this server is a standby"):
            await log.tail(cursor)
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError, match="this server is a standby"):
            await connection.execute("select flowcraft.cursor()")
        await connection.execute("select pg_promote()")
        await asyncio.wait_for(listener.until_connected(), 10)
        with pytest.raises(CursorRewound):
            await log.tail(cursor)
        position = await log.rewound(cursor)
        assert position.cursor.lineage == replace(cursor.lineage, timeline=cursor.lineage.timeline + 1)
        await emit(connection, 1)
        assert [record.payload for record in (await log.tail(position.cursor)).records] == ["1"]
