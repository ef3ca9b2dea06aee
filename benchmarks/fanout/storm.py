"""A storm: thousands come back to a server that has just started, and catch up from the log.

`python -m benchmarks.fanout.storm [--rounds N] [--json FILE]`
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
from pathlib import Path

from benchmarks.fanout.measure import LEAST_BYTES, prepare
from benchmarks.fanout.ours.dedicated import PAYLOAD
from benchmarks.fanout.ours.served import EMIT, database, served
from benchmarks.fanout.subjects import BUILD, OURS
from benchmarks.machine import free_port, where, write

CLIENTS, MISSED = 10_000, 10


async def main() -> int:
    """Measure a storm, and another."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fanout.storm", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write all figures")
    options = parser.parse_args()
    prepare(CLIENTS)
    async with database() as (dsn, connection):
        since = await connection.fetchval("select flowcraft.cursor()")
        await connection.execute(EMIT, PAYLOAD, MISSED)
        rounds = [await _round(dsn, f"{OURS}&since={since}") for _ in range(options.rounds)]
    median = statistics.median(rounds)
    what = f"seconds until {CLIENTS:,} clients are back and each has the {MISSED} events that it missed"
    print("commit {commit}, {machine}".format_map(where()))
    print(f"{what}: {median:.2f} (of {options.rounds}: {min(rounds):.2f} to {max(rounds):.2f})")
    if options.json:
        write(options.json, {"medians": {what: median}, "rounds": rounds})
    return 0


async def _round(dsn: str, path: str) -> float:
    port = free_port()
    async with served(dsn, port, 1):
        client = await asyncio.create_subprocess_exec(
            *(
                str(BUILD / "load"),
                str(port),
                "0",
                str(CLIENTS),
                "0",
                "0",
                str(LEAST_BYTES),
                str(MISSED),
                path,
            ),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert client.stdout is not None
        found = json.loads(await client.stdout.readline())
        client.kill()
        await client.wait()
        return float(found["seconds"])


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
