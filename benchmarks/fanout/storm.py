"""A storm: thousands come back to a server that has just started, and catch up from the log.

`python -m benchmarks.fanout.storm [--rounds N] [--json FILE]`
"""

from __future__ import annotations

import asyncio
import statistics
import sys

from benchmarks.fanout.measure import Load, load_command, prepare, seconds_to_connect
from benchmarks.fanout.ours.dedicated import PAYLOAD
from benchmarks.fanout.ours.served import BROADCAST, database, served
from benchmarks.fanout.subjects import OUR_PATH
from benchmarks.machine import free_port, options, where, write

CLIENTS, MISSED = 10_000, 10


async def main() -> int:
    """Measure a storm, and another."""
    given = options("benchmarks.fanout.storm", __doc__).parse_args()
    prepare(CLIENTS)
    async with database() as (dsn, connection):
        since = await connection.fetchval("select flowcraft.cursor()")
        await connection.execute(BROADCAST, PAYLOAD, MISSED)
        rounds = [await _round(dsn, f"{OUR_PATH}&since={since}") for _ in range(given.rounds)]
    median = statistics.median(rounds)
    what = (
        f"seconds until {CLIENTS:,} clients have reconnected and each has the {MISSED} events that it missed"
    )
    print("commit {commit}, {machine}".format_map(where()))
    print(f"{what}: {median:.2f} (of {given.rounds}: {min(rounds):.2f} to {max(rounds):.2f})")
    if given.json:
        write(given.json, {"medians": {what: median}, "rounds": rounds})
    return 0


async def _round(dsn: str, path: str) -> float:
    port = free_port()
    async with served(dsn, port, 1):
        command = load_command(port, 0, Load(CLIENTS, 0, 0), path, missed=MISSED)
        return await seconds_to_connect(command)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
