"""Centrifugo's PostgreSQL broker on the same database: publishing in a transaction, as ours."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from benchmarks.machine import CENTRIFUGO

READY_SECONDS = 20.0
PROCEDURE = """
create procedure commit_centrifugo(n int) language plpgsql as $$
begin
    for i in 1..n loop
        perform cf_stream_publish(p_channel := 'lanes.1', p_data := to_jsonb(repeat('x', 188)));
        commit;
    end loop;
end $$
"""


@asynccontextmanager
async def following(dsn: str, port: int) -> AsyncIterator[None]:
    """A node that delivers what `commit_centrifugo` publishes, and is notified, for the lowest latency."""
    settings = {
        "CENTRIFUGO_BROKER_ENABLED": "true",
        "CENTRIFUGO_BROKER_TYPE": "postgres",
        "CENTRIFUGO_BROKER_POSTGRES_DSN": dsn,
        "CENTRIFUGO_BROKER_POSTGRES_USE_NOTIFY": "true",
        "CENTRIFUGO_HTTP_SERVER_ADDRESS": "127.0.0.1",
        "CENTRIFUGO_HTTP_SERVER_PORT": str(port),
        "CENTRIFUGO_LOG_LEVEL": "error",
    }
    node = await asyncio.create_subprocess_exec(str(CENTRIFUGO), env=os.environ | settings)
    try:
        await _prepare(dsn)
        yield
    finally:
        node.kill()
        await node.wait()


async def _prepare(dsn: str) -> None:
    """Wait until it has made its functions, and make the procedure that calls them."""
    connection = await asyncpg.connect(dsn)
    end = time.monotonic() + READY_SECONDS
    try:
        while not await connection.fetchval(
            "select exists (select from pg_proc where proname = 'cf_stream_publish')"
        ):
            if time.monotonic() > end:
                raise TimeoutError("Centrifugo has made no function cf_stream_publish")
            await asyncio.sleep(0.05)
        await connection.execute("drop procedure if exists commit_centrifugo")
        await connection.execute(PROCEDURE)
    finally:
        await connection.close()
