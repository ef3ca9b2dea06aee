"""Rows: a table of counters, writers that treat it badly, and the events of its changes."""

from __future__ import annotations

import random
from collections.abc import Iterable

import msgspec

from flowcraft.channels import Channels
from flowcraft.declarations import Table
from flowcraft.events import Event
from flowcraft.records import Record
from tests.support.postgres import connected

ROWS = 6


class Counted(Event):
    """A row was counted up."""

    id: int
    n: int


channels = Channels()
channels.declare("row_update", Counted, source=Table("hot"))

_decode = msgspec.json.Decoder(Counted).decode


async def make_table(dsn: str) -> None:
    """Create the table, before the triggers."""
    async with connected(dsn) as connection:
        await connection.execute("create table hot (id int primary key, n int not null)")
        await connection.execute(f"insert into hot select id, 0 from generate_series(1, {ROWS}) as id")


async def versions_now(dsn: str) -> dict[int, int]:
    """Return the version of each row."""
    async with connected(dsn) as connection:
        return {row["id"]: row["n"] for row in await connection.fetch("select id, n from hot")}


def versions(records: Iterable[Record]) -> list[tuple[int, int]]:
    """Return the row and version that each record tells."""
    return [(event.id, event.n) for event in map(_decode, (record.payload for record in records))]


async def write_adversarially(dsn: str, seed: int, transactions: int) -> None:
    """Draw ids early and commit late, hold rows, take things back by savepoint and by rollback."""
    chance = random.Random(seed)
    async with connected(dsn) as connection:
        for _ in range(transactions):
            await connection.execute("begin")
            if chance.random() < 0.4:
                await connection.execute("select pg_current_xact_id()")
                await connection.execute("select pg_sleep($1::float8 / 1000)", chance.uniform(0, 4))
            for row in sorted(chance.sample(range(1, ROWS + 1), chance.choice([1, 1, 1, 2, 3]))):
                await connection.execute("update hot set n = n + 1 where id = $1", row)
                if chance.random() < 0.2:
                    await connection.execute("savepoint s")
                    await connection.execute("update hot set n = n + 1 where id = $1", row)
                    await connection.execute(chance.choice(["rollback to s", "release s"]))
            if chance.random() < 0.3:
                await connection.execute("select pg_sleep($1::float8 / 1000)", chance.uniform(0, 2))
            await connection.execute("rollback" if chance.random() < 0.15 else "commit")
