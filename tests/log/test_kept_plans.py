"""PostgreSQL keeps the plans of functions in a session, also those that it made while the log was small."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from tests.support.postgres import connected, migrated

FILL = """
    insert into flowcraft.event (channel, payload)
    select case n % 2 when 0 then 'updates' else 'runs.' || n end, '1' from generate_series(1, 40000) as n
"""
RANGE = "array[$1::text]::xid8[], array[null]::xid8[]"
ONE_OF_TWO = "array['updates', 'runs.1']"
READS = {
    "events": f"flowcraft.changes({RANGE}, null, 1001)",
    "events of channels": f"flowcraft.changes({RANGE}, {ONE_OF_TWO}, 1001)",
    "how many events": f"flowcraft.measured({RANGE}, null, 1001)",
    "how many events of channels": f"flowcraft.measured({RANGE}, {ONE_OF_TWO}, 1001)",
    "the position": "flowcraft.reached() where $1 <> ''",
    "the mark of a transaction": "flowcraft.mark($1::text::xid8)",
    "the cursor of a transaction that broadcasts": "flowcraft.cursor() where $1 <> ''",
}
KEPT = 12
"""Calls after which PostgreSQL has decided whether it keeps a plan: 5 are planned, at least."""
MOST_PAGES = 60
"""Of 8 KB. A read with another index, or of all events of a channel, touches thousands."""
ANALYZE = "vacuum analyze flowcraft.event"
WHEN_PLANNED = {
    "the log is new": (0, ()),
    "the log is empty, which PostgreSQL knows": (0, (ANALYZE,)),
    "the log is small, which PostgreSQL knows": (60, (ANALYZE,)),
    "events will go to a table that was empty": (60, (ANALYZE, "select setval('flowcraft.event_slot', 1)")),
}
"""Commits with an event, and the statements that follow them."""


async def write(connection: asyncpg.Connection[asyncpg.Record], count: int) -> None:
    for _ in range(count):
        await connection.execute("select flowcraft.broadcast('updates', '1')")


async def newest(connection: asyncpg.Connection[asyncpg.Record]) -> str:
    return str(await connection.fetchval("select newest::text from flowcraft.reached()"))


@asynccontextmanager
async def broadcasting(connection: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[None]:
    """A transaction that has an event of its own, and leaves none."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        await write(connection, 1)
        yield
    finally:
        await transaction.rollback()


async def pages(connection: asyncpg.Connection[asyncpg.Record], read: str, xid: str) -> int:
    """How many pages a read touches."""
    plan = await connection.fetchval(
        f"explain (analyze, buffers, format json) select * from {read}".replace("$1", f"'{xid}'")
    )
    found = json.loads(plan)[0]["Plan"]
    return int(found["Shared Hit Blocks"] + found["Shared Read Blocks"])


@pytest.mark.parametrize(("commits", "statements"), WHEN_PLANNED.values(), ids=WHEN_PLANNED)
async def test_a_read_looks_up_what_it_needs_whenever_it_was_planned(
    database: str, commits: int, statements: tuple[str, ...]
) -> None:
    async with migrated(database), connected(database) as writer, connected(database) as reader:
        for slot in range(4):
            await writer.execute(f"alter table flowcraft.event_{slot} set (autovacuum_enabled = off)")
        await write(writer, commits)
        for statement in statements:
            await writer.execute(statement)
        await write(writer, 1)
        xid = await newest(writer)
        for read in READS.values():
            async with broadcasting(reader):
                for _ in range(KEPT):
                    await reader.fetch(f"select * from {read}", xid)
        await writer.execute(FILL)
        await write(writer, 3)
        xid = await newest(writer)
        await write(writer, 3)
        async with broadcasting(reader):
            touched = {name: await pages(reader, read, xid) for name, read in READS.items()}
    assert {name: count for name, count in touched.items() if count > MOST_PAGES} == {}
