"""The log in PostgreSQL: `python -m benchmarks.log [--rounds N] [--json FILE]`.

What a commit with an event costs beside a commit with the same row in a plain table, how fast a backlog is
read, and what a resume asks of the database. Commits are made by a procedure inside the server, so that no
client is measured with them. Ratios within one run. What history costs is measured by `benchmarks.growth`.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg

from benchmarks.log import centrifugo
from benchmarks.log.follower import followed
from benchmarks.machine import CENTRIFUGO, free_port, options, where, write
from flowcraft import Channels, Event
from flowcraft.adapters.postgres.embedded import EmbeddedPostgres
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.core.hub import Hub

if TYPE_CHECKING:
    Plain = asyncpg.Connection[asyncpg.Record]

WRITERS = (1, 8)
COMMITS = 8_000
"""Of each writer: two seconds of eight, in which a relay that begins to read is long the leader."""
BACKLOG = 200_000
LANES = 1_000
SETTINGS = {"max_connections": "100", "checkpoint_timeout": "1h", "max_wal_size": "4GB"}
SCHEMA = """
create table plain (id bigint generated always as identity primary key, xid xid8 default pg_current_xact_id(),
    channel text not null, payload text not null);
create procedure commit_plain(n int) language plpgsql as $$
begin
    for i in 1..n loop
        insert into plain (channel, payload) values ('lanes.1', repeat('x', 190));
        commit;
    end loop;
end $$;
create procedure commit_events(n int) language plpgsql as $$
begin
    for i in 1..n loop
        perform flowcraft.broadcast('lanes.1', to_json(repeat('x', 188)));
        commit;
    end loop;
end $$;
create procedure commit_notified(n int) language plpgsql as $$
begin
    for i in 1..n loop
        insert into plain (channel, payload) values ('lanes.1', repeat('x', 190));
        perform pg_notify('plain', '');
        commit;
    end loop;
end $$;
"""
FILL = """
insert into flowcraft.event (channel, payload)
select 'lanes.' || (n % $2), to_json(repeat('x', 188))::text from generate_series(1, $1) as n
"""
Figures = dict[str, float]


class LaneUpdate(Event):
    """What is read."""

    text: str


async def main() -> int:
    """Measure everything, and print it."""
    given = options("benchmarks.log", __doc__).parse_args()
    server = await asyncio.to_thread(EmbeddedPostgres.start, settings=SETTINGS, durable=True)
    try:
        runs = [await _round(server, n) for n in range(given.rounds)]
    finally:
        await asyncio.to_thread(server.close)
    medians = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    print("commit {commit}, {machine}".format_map(where()))
    print(f"medians of {given.rounds}\n")
    for name, value in medians.items():
        print(f"  {name:58} {value:12,.3f}")
    if given.json:
        write(given.json, {"medians": medians, "runs": runs})
    return 0


async def _round(server: EmbeddedPostgres, number: int) -> Figures:
    found: Figures = {}
    async with _database(server, f"bench_{number}") as (dsn, connection):
        for writers in WRITERS:
            found |= await _commits(dsn, writers)
        return found | await _backlog(dsn, connection)


@asynccontextmanager
async def _database(server: EmbeddedPostgres, name: str) -> AsyncIterator[tuple[str, Plain]]:
    """A database with our log and the procedures."""
    dsn = await asyncio.to_thread(server.create_database, name)
    connection = await asyncpg.connect(dsn)
    try:
        await migrate(connection, _channels())
        await connection.execute(SCHEMA)
        yield dsn, connection
    finally:
        await connection.close()


def _channels() -> Channels:
    channels = Channels()
    channels.declare("lanes.{lane}", LaneUpdate, params={"lane": int})
    return channels


async def _commits(dsn: str, writers: int) -> Figures:
    plain = await _rate(dsn, "commit_plain", writers)
    unread = await _rate(dsn, "commit_events", writers)
    async with followed(dsn):
        read = await _rate(dsn, "commit_events", writers)
    notified = await _rate(dsn, "commit_notified", writers)
    found: Figures = {}
    if CENTRIFUGO.exists():
        async with centrifugo.following(dsn, free_port()):
            theirs = await _rate(dsn, "commit_centrifugo", writers)
        found[f"{writers} writers: of an event, Centrifugo's broker reads (ratio)"] = theirs / plain
    return found | {
        f"{writers} writers: commits/s of a plain row": plain,
        f"{writers} writers: of an event, without a reader (ratio)": unread / plain,
        f"{writers} writers: of an event, a relay reads (ratio)": read / plain,
        f"{writers} writers: of a plain row and a NOTIFY (ratio)": notified / plain,
    }


async def _rate(dsn: str, procedure: str, writers: int) -> float:
    connections = [await asyncpg.connect(dsn) for _ in range(writers)]
    try:
        began = time.monotonic()
        await asyncio.gather(*(c.execute(f"call {procedure}({COMMITS})") for c in connections))
        return writers * COMMITS / (time.monotonic() - began)
    finally:
        for connection in connections:
            await connection.close()


async def _backlog(dsn: str, connection: Plain) -> Figures:
    """A reader that is far behind: one read, into the hub."""
    log = PostgresLog(dsn)
    try:
        start = await log.position()
        hub = Hub(start)
        await connection.execute(FILL, BACKLOG, LANES)
        began = time.monotonic()
        batch = await log.tail(start.cursor)
        hub.broadcast(batch)
        took = time.monotonic() - began
        assert len(batch.records) == BACKLOG
        before = time.monotonic()
        resumed = await log.replay(start.cursor, ["lanes.7"])
        resume = time.monotonic() - before
        assert len(resumed.records) == BACKLOG // LANES
        times = [await _timed(lambda: log.replay(start.cursor, ["lanes.8"])) for _ in range(20)]
    finally:
        await log.close()
    return {
        "backlog: events/s from the log into the hub": BACKLOG / took,
        f"resume: ms for {BACKLOG // LANES} events of one channel of {LANES}, first": 1e3 * resume,
        "resume: ms, median": 1e3 * statistics.median(times),
    }


async def _timed(work: Callable[[], Awaitable[object]]) -> float:
    began = time.monotonic()
    await work()
    return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
