"""A node that is far from the database never leads the wakeups of the others."""

from __future__ import annotations

import asyncio

from faults.postgres_proxy import address_of, through
from faults.proxy import FaultProxy
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.core.wakeup import FAR_SECONDS, Leader
from tests.support.following import following
from tests.support.postgres import connected, migrated

EVENTS = 3_000
COMMITS = f"""
do $$ begin
    for n in 1..{EVENTS} loop
        perform flowcraft.broadcast('note_update', format('%s', n)::json);
        commit;
    end loop;
end $$
"""


async def test_a_far_node_never_becomes_the_leader_and_a_near_one_does(database: str) -> None:
    async with (
        FaultProxy.open(address_of(database)) as proxy,
        migrated(database) as near_log,
        connected(database) as writer,
    ):
        proxy.latency_seconds = 0.04
        far_dsn = through(database, proxy)
        far_log = PostgresLog(far_dsn)
        async with following(far_log, far_dsn) as far:
            # Alone, it sees nothing but events, and leaves the lock to a nearer node all the same.
            await writer.execute(COMMITS)
            await far.until_read(EVENTS)
            assert Leader not in far.states
            assert far.listener.machine_state != Leader()
            async with following(near_log, database) as near:
                rounds = 0
                while Leader not in near.states:  # on a busy machine a near node may be slow for a while, too
                    rounds += 1
                    await writer.execute(COMMITS)
                    reads = near.until_read(rounds * EVENTS), far.until_read((rounds + 1) * EVENTS)
                    await asyncio.gather(*reads)
                assert Leader not in far.states
        await far_log.close()
    assert proxy.latency_seconds > FAR_SECONDS
