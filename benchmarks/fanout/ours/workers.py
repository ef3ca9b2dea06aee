"""Ours with PostgreSQL and several workers: the orders are transactions. The last argument is how many."""

from __future__ import annotations

import asyncio
import sys

from benchmarks.fanout.control import obey, ports
from benchmarks.fanout.ours.dedicated import PAYLOAD
from benchmarks.fanout.ours.served import BROADCAST, database, served


async def main() -> None:
    """Serve until the orders end."""
    port, control = ports()
    async with database() as (dsn, connection), served(dsn, port, int(sys.argv[3])):

        async def go(count: int) -> None:
            await connection.execute(BROADCAST, PAYLOAD, count)

        await obey(control, go)


if __name__ == "__main__":
    asyncio.run(main())
