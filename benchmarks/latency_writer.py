"""Commits one change at a time, and prints when each commit was answered, in milliseconds since the epoch."""

from __future__ import annotations

import asyncio
import json
import sys
import time

import asyncpg

PAUSE_SECONDS = 0.02


async def main(dsn: str, rounds: int, first: int) -> None:
    """Change row 1 so many times, with a pause so that the server is idle again."""
    connection = await asyncpg.connect(dsn)
    committed: list[float] = []
    for version in range(first, first + rounds):
        await connection.execute("update items set version = $1 where id = 1", version)
        committed.append(time.time() * 1000)
        await asyncio.sleep(PAUSE_SECONDS)
    await connection.close()
    print(json.dumps(committed), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
