"""The relay of the benchmark of the log is that of a node: it becomes the leader."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from benchmarks.log.follower import followed
from flowcraft.adapters.postgres.listen_connection import WAKEUP_TOPIC
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.channels import Channels
from tests.support.postgres import connected

if TYPE_CHECKING:
    from tests.support.postgres import Plain

COMMITS = 3_000
"""Of each of two writers: a second or two of work; a relay finds after some 50 ms that it is busy."""
WRITE = """
create procedure commit_events(n int) language plpgsql as $$
begin
    for i in 1..n loop
        perform flowcraft.broadcast('lanes.1', '1');
        commit;
    end loop;
end $$
"""


async def test_busy_writers_do_not_notify_the_relay_of_the_benchmark(
    database: str, connection: Plain
) -> None:
    await migrate(database, Channels())
    await connection.execute(WRITE)
    notified = list[int]()
    await connection.add_listener(WAKEUP_TOPIC, lambda _, writer, __, ___: notified.append(writer))
    async with followed(database), connected(database) as one, connected(database) as other:
        await asyncio.gather(*(writer.execute(f"call commit_events({COMMITS})") for writer in (one, other)))
        await connection.execute("select")
    assert 1 <= len(notified) < COMMITS
