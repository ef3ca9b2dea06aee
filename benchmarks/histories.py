"""Histories: what a commit, a read and a resume cost in PostgreSQL once the log holds so many events.

For `benchmarks.growth`. Without fsync, in which a disk would be measured and not the log.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping

import asyncpg

from flowcraft import Channels, Event
from flowcraft.adapters.postgres.embedded import EmbeddedPostgres
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.adapters.postgres.schema import migrate

HISTORIES = (100, 10_000, 1_000_000, 10_000_000)
LANES = 1_000
"""Channels of the history."""
COMMITS, READS = 500, 50
AT_ONCE = 1_000_000
"""Events of one transaction of the history."""
SETTINGS = {"checkpoint_timeout": "1h", "max_wal_size": "4GB"}
COMMIT = """
create procedure commit_events(n int) language plpgsql as $$
begin
    for i in 1..n loop
        perform flowcraft.broadcast('lanes.1', to_json(i));
        commit;
    end loop;
end $$
"""
FILL = """
insert into flowcraft.event (channel, payload)
select 'lanes.' || (n % $2), to_json(repeat('x', 60))::text from generate_series(1, $1) as n
"""
SIZE = "select pg_database_size(current_database())"


class LaneUpdate(Event):
    """What the history has."""

    text: str


def by_history(longest: int) -> Mapping[str, dict[int, float]]:
    """Return each figure by how many events the log holds."""
    return asyncio.run(_by_history([count for count in HISTORIES if count <= longest]))


async def _by_history(counts: list[int]) -> Mapping[str, dict[int, float]]:
    server = await asyncio.to_thread(EmbeddedPostgres.start, settings=SETTINGS)
    try:
        dsn = await asyncio.to_thread(server.create_database, "growth")
        connection = await asyncpg.connect(dsn)
        log = PostgresLog(dsn)
        try:
            channels = Channels()
            channels.declare("lanes.{lane}", LaneUpdate, params={"lane": int})
            await migrate(connection, channels)
            await connection.execute(COMMIT)
            return await _measure(connection, log, counts)
        finally:
            await log.close()
            await connection.close()
    finally:
        await asyncio.to_thread(server.close)


async def _measure(
    connection: asyncpg.Connection[asyncpg.Record], log: PostgresLog, counts: list[int]
) -> Mapping[str, dict[int, float]]:
    commit: dict[int, float] = {}
    read: dict[int, float] = {}
    resume: dict[int, float] = {}
    size: dict[int, float] = {}
    empty, held = await connection.fetchval(SIZE), 0
    for count in counts:
        while held < count:
            some = min(AT_ONCE, count - held)
            await connection.execute(FILL, some, LANES, timeout=600)
            held += some
        size[count] = (await connection.fetchval(SIZE) - empty) / held
        before = (await log.position()).cursor
        taken = await _seconds(lambda: connection.execute(f"call commit_events({COMMITS})"))
        commit[count] = 1e6 * taken / COMMITS
        resume[count] = await _milliseconds(lambda: log.replay(before, ["lanes.2"]))  # noqa: B023  # at once
        cursor, times = (await log.position()).cursor, list[float]()
        for _ in range(READS):
            await connection.execute("select flowcraft.broadcast('lanes.1', '1')")
            began = time.perf_counter()
            batch = await log.tail(cursor)
            times.append(time.perf_counter() - began)
            assert len(batch.records) == 1
            cursor = batch.cursor
        read[count] = 1e3 * statistics.median(times)
        held += COMMITS + READS
    return {
        "µs of a commit with an event, by events of history": commit,
        "ms to read a new event, by events of history": read,
        "ms to resume on a quiet channel, by events of history": resume,
        "bytes on disk of an event, by events of history": size,
    }


async def _milliseconds(work: Callable[[], Awaitable[object]]) -> float:
    return 1e3 * statistics.median([await _seconds(work) for _ in range(READS)])


async def _seconds(work: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began
