"""`flowcraft serve` on a database of its own, as a process that a benchmark can end."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from benchmarks.fanout.ours.dedicated import declared
from flowcraft.adapters.postgres.embedded import EmbeddedPostgres
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.entrypoints.bench import until_ready

BROADCAST = "select flowcraft.broadcast('bench_update', $1::text::json) from generate_series(1, $2)"
COMMAND = "from flowcraft.entrypoints.cli import main; main()"
APP = "benchmarks.fanout.ours.app:realtime"


@asynccontextmanager
async def database() -> AsyncIterator[tuple[str, asyncpg.Connection[asyncpg.Record]]]:
    """A database with our log, and a connection to it."""
    server = await asyncio.to_thread(EmbeddedPostgres.start)
    try:
        dsn = await asyncio.to_thread(server.create_database, "bench")
        connection = await asyncpg.connect(dsn)
        try:
            await migrate(connection, declared())
            yield dsn, connection
        finally:
            await connection.close()
    finally:
        await asyncio.to_thread(server.close)


@asynccontextmanager
async def served(dsn: str, port: int, workers: int, app: str = APP) -> AsyncIterator[int]:
    """A server that listens, and its process."""
    arguments = ["serve", app, "--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", COMMAND, *arguments),
        env=os.environ | {"DATABASE_URL": dsn},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert server.stdout is not None
        url = (await server.stdout.readline()).decode().strip()
        await until_ready(url, workers)
        yield server.pid
    finally:
        server.terminate()
        await server.wait()
