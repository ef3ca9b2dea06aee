"""Writers: `writer.py DSN COMMITS` commits changes over four connections, and reports every tenth."""

from __future__ import annotations

import asyncio
import sys

import asyncpg

WRITERS = 4


async def write(dsn: str, commits: int, row: int, done: list[int]) -> None:
    """Change two rows in turn: one that no other writer touches, and one that all do."""
    connection = await asyncpg.connect(dsn)
    try:
        for n in range(commits):
            item = row if n % 2 else 8
            await connection.execute("update items set version = version + 1 where id = $1", item)
            done[0] += 1
            if done[0] % 10 == 0:
                print(done[0], flush=True)
    finally:
        await connection.close()


async def main(dsn: str, commits: int) -> None:
    """Run the writers side by side."""
    done = [0]
    await asyncio.gather(*(write(dsn, commits // WRITERS, row + 1, done) for row in range(WRITERS)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
