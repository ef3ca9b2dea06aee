"""A stand-in for psql, which not every machine has: SQL on the page's database, whatever is asked for."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

import asyncpg


def main() -> None:
    """Run what `-c`, `-f` or standard input says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("address", nargs="?")
    parser.add_argument("-c", action="append", default=[])
    parser.add_argument("-f", action="append", default=[])
    arguments = parser.parse_args()
    texts = [*arguments.c, *(Path(file).read_text("utf-8") for file in arguments.f)] or [sys.stdin.read()]
    asyncio.run(execute(texts))


async def execute(texts: list[str]) -> None:
    """Run them one after the other."""
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    for text in texts:
        await connection.execute(text)
    await connection.close()


if __name__ == "__main__":
    main()
