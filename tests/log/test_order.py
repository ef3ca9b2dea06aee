"""Twelve writers do their worst: nothing is lost, doubled or reordered, and the judge would have noticed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from flowcraft.adapters.postgres.listener import PostgresListener
from flowcraft.records import Batch, Record
from tests.support.following import listening
from tests.support.histories import PERFECT, Verdict, judge
from tests.support.postgres import AppendablePostgresLog, connected, migrated
from tests.support.rows import channels, make_table, versions, versions_now, write_adversarially

WRITERS = 12
TRANSACTIONS = 60
BY_ID = """
select xid::text::bigint as xid, id, channel, payload from flowcraft.event where id > $1 order by id
"""


def test_the_judge_notices_each_kind_of_damage() -> None:
    story = [(1, 1), (2, 1), (1, 2), (1, 3)]
    end = {1: 3, 2: 1}
    assert judge(story, end) == PERFECT
    assert judge(story[:-1], end) == Verdict(1, 0, 0)
    assert judge([*story, (2, 1)], end) == Verdict(0, 1, 0)
    assert judge([(1, 2), (1, 1), (2, 1), (1, 3)], end) == Verdict(0, 0, 1)
    assert judge([*story, (1, 4)], end) == Verdict(0, 1, 0)
    assert judge(story[2:], end, begin={1: 1, 2: 1}) == PERFECT
    assert judge(story, end, begin={1: 1, 2: 1}) == Verdict(0, 2, 0)


@dataclass
class Followers:
    """Three ways to follow the same log at the same time."""

    dsn: str
    by_snapshot: list[Record] = field(default_factory=list[Record])
    by_id: list[Record] = field(default_factory=list[Record])
    transactions_cut: int = 0

    async def run(self, log: AppendablePostgresLog, write: Callable[[], Awaitable[object]]) -> None:
        """Follow until the writers are done, and then to the end."""
        done = asyncio.Event()
        start = await log.position()
        listener = PostgresListener(self.dsn, channels, lambda _: None)
        async with listening(listener):
            await listener.until_connected()
            followers = [self._by_snapshot(log, start, listener, done), self._by_id(done)]
            tasks = [asyncio.create_task(follower) for follower in followers]
            await write()
            done.set()
            listener.hurry()
            await asyncio.gather(*tasks)

    async def _by_snapshot(
        self, log: AppendablePostgresLog, batch: Batch, listener: PostgresListener, done: asyncio.Event
    ) -> None:
        seen: set[int] = set()
        last = False
        while not last:
            await listener.wait()
            last = done.is_set()
            batch = await log.tail(batch.cursor)
            listener.observe(batch)
            self._take(batch, seen)

    def _take(self, batch: Batch, seen: set[int]) -> None:
        xids = {record.xid for record in batch.records}
        self.transactions_cut += len(xids & seen)
        seen |= xids
        self.by_snapshot += batch.records

    async def _by_id(self, done: asyncio.Event) -> None:
        newest, last = 0, False
        async with connected(self.dsn) as connection:
            while not last:
                last = done.is_set()
                rows = await connection.fetch(BY_ID, newest)
                self.by_id += [Record(**row) for row in rows]
                newest = max([newest, *(row["id"] for row in rows)])


async def test_the_snapshot_difference_is_perfect_where_an_increasing_id_loses(database: str) -> None:
    await make_table(database)
    async with migrated(database, channels) as log:
        followers = Followers(database)
        await followers.run(log, lambda: write_all(database))
        end = await versions_now(database)
    assert judge(versions(followers.by_snapshot), end) == PERFECT
    assert followers.transactions_cut == 0
    assert judge(versions(followers.by_id), end).lost > 0
    by_xid = sorted(followers.by_snapshot, key=lambda record: (record.xid, record.id))
    assert judge(versions(by_xid), end).inverted > 0


async def write_all(dsn: str) -> None:
    await asyncio.gather(*(write_adversarially(dsn, seed, TRANSACTIONS) for seed in range(WRITERS)))
