"""Probes on PostgreSQL: they receive every commit once, whatever is reset in between."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop

from faults.histories import judge
from faults.probe import Probe
from flowcraft.adapters.postgres.listener import PostgresListener
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.cursors import Cursor
from flowcraft.entrypoints.serve import Server
from flowcraft.records import Record
from flowcraft.runtime.clock import SystemClock
from flowcraft.runtime.node import Node
from tests.faults.test_probe import QUICK, before, changed, channels
from tests.support.postgres import connected, migrated


@asynccontextmanager
async def on_postgres(dsn: str) -> AsyncIterator[tuple[PostgresLog, Server]]:
    async with migrated(dsn, channels) as log:
        listener = PostgresListener(dsn, channels, lambda _: None)
        node = Node(channels, log, listener, settings=QUICK, authorizer=None, clock=SystemClock())
        server = Server(node, "127.0.0.1", 0)
        node.start()
        node.supervisor.keep("listener", listener.run)
        await node.until_accepting()
        await server.start()
        try:
            yield log, server
        finally:
            await server.stop()
            await node.stop()


async def commit(dsn: str, row: int, commits: int, committed: Callable[[], None]) -> int:
    """Change a row so many times, on two channels; return the last transaction's id."""
    xid = 0
    async with connected(dsn) as connection:
        for version in range(1, commits + 1):
            async with connection.transaction():
                for channel in ("row_update", f"rows.{row}"):
                    await connection.execute(
                        "select flowcraft.broadcast($1, $2::text::json)", channel, changed(row, version)
                    )
                xid = int(await connection.fetchval("select pg_current_xact_id()::text"))
            committed()
    return xid


async def resets_during_five_hundred_commits(dsn: str) -> None:
    async with on_postgres(dsn) as (log, server), before(server) as proxy:
        start = (await log.position()).cursor
        url = f"ws://{proxy.host}:{proxy.port}/realtime"
        probes = [Probe(url, name=f"probe {n}", random=random.Random(n)) for n in range(12)]
        histories = [p.subscribe(c) for p in probes for c in ("row_update", "rows.1", "rows.2")]
        await asyncio.gather(*(probe.start() for probe in probes))
        await asyncio.gather(*(probe.until_live() for probe in probes))
        counted = iter(range(1, 501))

        def committed() -> None:
            if next(counted) % 25 == 0:
                proxy.reset(4)

        xids = await asyncio.gather(*(commit(dsn, row, 125, committed) for row in range(1, 5)))
        proxy.heal()
        await asyncio.gather(*(probe.settled(xid) for probe in probes for xid in xids))
        await asyncio.gather(*(probe.close() for probe in probes))
        verdict = judge(await everything(log, start), histories)
        assert verdict.ok, verdict.examples
        assert (verdict.events, verdict.deliveries) == (1000, 12 * 750)
        assert min(probe.connects for probe in probes) > 1
        assert sum(probe.mismatches for probe in probes) == 0


async def everything(log: PostgresLog, start: Cursor) -> tuple[Record, ...]:
    return (await log.tail(start)).records


async def test_through_resets_during_five_hundred_commits_everything_is_heard_once(database: str) -> None:
    await resets_during_five_hundred_commits(database)


@pytest.mark.parametrize("scenario", [resets_during_five_hundred_commits])
def test_on_uvloop_it_is_the_same(database: str, scenario: Callable[[str], Awaitable[None]]) -> None:
    async def run() -> None:
        await scenario(database)

    uvloop.run(run())
