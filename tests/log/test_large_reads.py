"""A read is bounded in events and bytes, and lasts as long as something arrives."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

import flowcraft.adapters.postgres.log
from faults.postgres_proxy import address_of, through
from faults.proxy import FaultProxy
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.adapters.postgres.log_pages import PAGE_BYTES, PAGE_EVENTS
from flowcraft.adapters.postgres.statements import statement
from flowcraft.errors import CursorExpired
from flowcraft.records import Limit
from tests.support.postgres import AppendablePostgresLog, connected, migrated

ROWS = """
    insert into flowcraft.event (channel, payload)
    select 'runs.' || n % 2, format('{"n":%s,"body":"%s"}', n, repeat('x', $2))
    from generate_series(1, $1) as n
"""


@pytest.fixture
async def log(database: str) -> AsyncIterator[AppendablePostgresLog]:
    async with migrated(database) as log:
        yield log


async def write(dsn: str, count: int, size: int) -> None:
    async with connected(dsn) as connection:
        await connection.execute("set synchronous_commit = off")
        await connection.execute(ROWS, count, size)


@pytest.mark.parametrize(
    ("count", "size"),
    [
        (PAGE_EVENTS, 10),
        (PAGE_EVENTS + 1, 10),
        (4, PAGE_BYTES // 4),
        (5, PAGE_BYTES // 4),
        (70, PAGE_BYTES - 99),
    ],
)
async def test_every_event_is_read_once_and_in_order_by_pages_of_any_size(
    log: AppendablePostgresLog, count: int, size: int
) -> None:
    start = (await log.position()).cursor
    await write(log.dsn, count, size)
    for batch in (await log.tail(start), await log.replay(start, ["runs.0", "runs.1"])):
        assert [record.payload.split(",")[0] for record in batch.records] == [
            f'{{"n":{n}' for n in range(1, count + 1)
        ]
        assert (await log.tail(batch.cursor)).records == ()
    assert len((await log.replay(start, ["runs.1"])).records) == (count + 1) // 2


async def test_a_read_takes_as_long_as_its_line_needs(
    log: AppendablePostgresLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flowcraft.adapters.postgres.log, "TAIL_SECONDS", 1.5)
    async with FaultProxy.open(address_of(log.dsn)) as proxy:
        slow = PostgresLog(through(log.dsn, proxy))
        start = (await slow.position()).cursor
        await write(log.dsn, 20_000, 200)
        proxy.bytes_per_second = 1_500_000.0  # 5 MB in 3.4 s
        assert len((await slow.tail(start)).records) == 20_000
        await slow.close()


@pytest.mark.parametrize("limit", [Limit(4_999), Limit(10_000, 400_000)])
async def test_more_than_a_limit_is_not_sent_at_all(log: AppendablePostgresLog, limit: Limit) -> None:
    async with FaultProxy.open(address_of(log.dsn)) as proxy:
        slow = PostgresLog(through(log.dsn, proxy))
        start = (await slow.position()).cursor
        await write(log.dsn, 5_000, 100)
        proxy.bytes_per_second = 10_000.0  # in the time of a test, a fifth of what it is too much of
        for read in (slow.tail(start, limit=limit), slow.replay(start, ["runs.0", "runs.1"], limit=limit)):
            with pytest.raises(CursorExpired):
                await read
        await slow.close()
    assert len((await log.tail(start, limit=Limit(5_000, 1_000_000))).records) == 5_000


async def test_a_log_from_before_it_could_be_measured_is_read_all_the_same(
    log: AppendablePostgresLog,
) -> None:
    start = (await log.position()).cursor
    await write(log.dsn, 3_000, 10)
    async with connected(log.dsn) as connection:
        assert await connection.fetchval(statement("may_measure")) is True
        await connection.execute("drop function flowcraft.measured")
        assert await connection.fetchval(statement("may_measure")) is None
    for channels in (None, ["runs.0", "runs.1"]):
        read = log.tail if channels is None else partial(log.replay, channels=channels)
        assert len((await read(start, limit=Limit(3_000, 1_000_000))).records) == 3_000
        for limit in (Limit(2_999), Limit(3_000, 20_000)):
            with pytest.raises(CursorExpired):
                await read(start, limit=limit)


async def test_a_batch_has_the_time_of_its_oldest_event_and_the_mark_of_each_transaction(
    log: AppendablePostgresLog,
) -> None:
    start = (await log.position()).cursor
    await write(log.dsn, 3_000, 10)
    await write(log.dsn, 2, 10)
    async with connected(log.dsn) as connection:
        first = await connection.fetch("""
            select distinct on (xid) xid::text::bigint as xid, broadcast_at, flowcraft.mark(xid) as mark
            from flowcraft.event order by xid, id
        """)
    for batch in (await log.tail(start), await log.tail(start, limit=Limit(10_000))):
        assert batch.oldest == min(row["broadcast_at"] for row in first)
        assert batch.marks == {row["xid"]: row["mark"] for row in first}


class Interrupted(AppendablePostgresLog):
    """A log to which something commits after the first read, which only found that there is much."""

    async def _pages(self, *arguments: Any, **options: Any) -> Any:
        await write(self.dsn, 1, 10)
        return await super()._pages(*arguments, **options)


async def test_what_commits_between_two_reads_is_delivered_once(log: AppendablePostgresLog) -> None:
    interrupted = Interrupted(log.dsn)
    start = (await log.position()).cursor
    await write(log.dsn, 3_000, 10)
    first = await interrupted.tail(start)
    await write(log.dsn, 1, 10)
    second = await log.tail(first.cursor)
    assert (len(first.records), len(second.records)) == (3_001, 1)
    await interrupted.close()


async def test_a_session_that_planned_its_reads_in_an_empty_log_reads_few_pages_of_a_large_one(
    log: AppendablePostgresLog,
) -> None:
    read = "select * from flowcraft.changes(array[$1::bigint::text::xid8], array[null::xid8], null, 1001)"
    async with connected(log.dsn) as connection:
        for _ in range(10):  # PostgreSQL makes a plan for all calls with the sixth
            await connection.fetch(read, (await log.position()).snapshot.xmax)
        await write(log.dsn, 20_000, 200)
        newest = (await log.position()).cursor.snapshot.xmax
        await write(log.dsn, 1, 200)
        assert len(await connection.fetch(read, newest)) == 1
        await connection.execute(f"prepare last as {read}")
        explained = await connection.fetchval(
            f"explain (analyze, buffers, format json) execute last({newest})"
        )
    (plan,) = json.loads(explained)
    assert plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"] < 100
