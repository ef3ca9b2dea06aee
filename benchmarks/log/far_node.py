"""Far node: the delay of events at a near reader, without and with a second reader 80 ms from the database.

python -m benchmarks.log.far_node [seconds]
"""

from __future__ import annotations

import asyncio
import sys
import time

import asyncpg

from benchmarks.log.follower import reading
from faults.proxy import FaultProxy
from flowcraft.adapters.postgres.embedded import EmbeddedPostgres
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.channels import Channels

RATE = 400
"""Commits per second: a reader that could lead would."""
ONE_WAY_SECONDS = 0.04


async def follow(dsn: str, delays: list[float]) -> None:
    """Read the log as a server does; add the seconds between each broadcast and its receipt."""
    async with reading(dsn) as reader:
        cursor = (await reader.log.position()).cursor
        while True:
            batch = await reader.log.tail(cursor)
            now = time.time()
            delays += [now - float(record.payload) for record in batch.records]
            cursor = batch.cursor
            await reader.wakeups.wait()


async def write(dsn: str, seconds: float) -> None:
    """Commit at a steady rate."""
    connection = await asyncpg.connect(dsn)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await connection.execute(
            "select flowcraft.broadcast('note_update', $1::text::json)", str(time.time())
        )
        await asyncio.sleep(1 / RATE)
    await connection.close()


async def measure(dsn: str, seconds: float, *others: str) -> float:
    """Return the 99th percentile of the near reader's delays, in milliseconds."""
    delays: list[float] = []
    readers = [asyncio.create_task(follow(dsn, delays))]
    readers += [asyncio.create_task(follow(other, [])) for other in others]
    await asyncio.sleep(1)
    await write(dsn, seconds)
    await asyncio.sleep(1)
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    return 1000 * sorted(delays)[int(len(delays) * 0.99)]


async def main(seconds: float) -> None:
    """Measure both and print the ratio."""
    server = EmbeddedPostgres.start(port=0)
    try:
        dsn, port = server.tcp_dsn, server.port
        assert dsn is not None
        assert port is not None
        await migrate(dsn, Channels())
        async with FaultProxy.open(("127.0.0.1", port)) as proxy:
            proxy.latency_seconds = ONE_WAY_SECONDS
            far = dsn.replace(f":{port}/", f":{proxy.port}/")
            alone, beside = await measure(dsn, seconds), await measure(dsn, seconds, far)
        print(
            f"p99 without a far reader {alone:.1f} ms, with one {beside:.1f} ms: {beside / alone:.2f} times"
        )
    finally:
        server.close()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0))
