"""The demo: a database, the API, two workers and a user who keeps triggering flows, in one process.

`make demo` brings its own PostgreSQL, which is gone when it ends. `DATABASE_URL=postgresql://…` names one of
yours (an empty one, please), `PORT=8001` another port, `DEMO_QUIET=1` leaves the triggering to you. With
`EDGE=nats` the server is an edge: it receives the log through NATS, from a relay.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from examples.flowcraft.api.adapters.postgres import Database
from examples.flowcraft.api.adapters.postgres.migrate import migrate
from examples.flowcraft.api.core.domain.channels import channels
from examples.flowcraft.api.core.domain.errors import Refused
from examples.flowcraft.api.main import create_app, services
from examples.flowcraft.api.serve import HOST, bind, serving
from examples.flowcraft.api.stop import until_stopped
from examples.flowcraft.api.worker.main import run_worker
from examples.flowcraft.edge import log_through_nats
from examples.flowcraft.seed import seed
from flowcraft import Realtime, Settings
from flowcraft.adapters.postgres import schema
from flowcraft.adapters.postgres.embedded import BinariesNotFound, EmbeddedPostgres, ServerFailed

SETTINGS = Settings(heartbeat_seconds=5, drain_seconds=0.5, development=True)
MOST_ACTIVE_RUNS = 5


async def demo(dsn: str, at: socket.socket) -> None:
    """Run the product until cancelled."""
    await prepare(dsn)
    port = at.getsockname()[1]
    async with serving(create_app(dsn, settings=SETTINGS), at), asyncio.TaskGroup() as tasks:
        tasks.create_task(run_worker(dsn, "worker-a"))
        tasks.create_task(run_worker(dsn, "worker-b"))
        if not os.environ.get("DEMO_QUIET"):
            tasks.create_task(keep_alive(dsn))
        print(f"page       http://{HOST}:{port}/")
        print(f"WebSocket  ws://{HOST}:{port}/realtime")
        print(f"database   {dsn}", flush=True)


async def prepare(dsn: str) -> None:
    """Make the product's tables, then the log with the triggers on them, then something to look at."""
    try:
        await migrate(dsn)
        await schema.migrate(dsn, channels)
        await seed(dsn)
    except (OSError, asyncpg.PostgresError) as error:
        sys.exit(f"the database {dsn} cannot be used: {error}")


async def keep_alive(dsn: str) -> None:
    """Trigger a flow every few seconds, unless enough is going on."""
    async with Database(dsn, connections=2) as database, Realtime(channels, dsn=dsn) as realtime:
        the = services(realtime.service, database)
        while True:
            try:
                if await the.runs.active() < MOST_ACTIVE_RUNS:
                    flow = random.choice((await the.flows.all()).data)
                    await the.runs.trigger(flow.flow_id, "schedule")
            except Refused:
                pass  # paused; the next one may not be
            except Exception:
                logging.getLogger(__name__).exception("no flow was triggered; the next attempt follows")
            await asyncio.sleep(random.uniform(1.5, 4))


@asynccontextmanager
async def a_database() -> AsyncIterator[str]:
    """Provide the database that `DATABASE_URL` names, or one that ends with the block."""
    if given := os.environ.get("DATABASE_URL"):
        yield given
        return
    try:
        server = await asyncio.to_thread(EmbeddedPostgres.start)
    except (BinariesNotFound, ServerFailed) as error:
        sys.exit(str(error))
    try:
        yield server.dsn
    finally:
        server.close()


async def main(at: socket.socket) -> None:
    """Bring a database, and run the product on it."""
    async with a_database() as dsn:
        if os.environ.get("EDGE") != "nats":
            await demo(dsn, at)
            return
        await prepare(dsn)  # before the relay reads the log
        async with log_through_nats(dsn) as url:
            print(f"NATS       {url}")
            await demo(dsn, at)


if __name__ == "__main__":
    wanted = int(os.environ.get("PORT", "8000"))
    try:
        taken = bind(wanted)
    except OSError as error:
        sys.exit(
            f"port {wanted} cannot be used ({error.strerror}); choose another: PORT={wanted + 1} make demo"
        )
    asyncio.run(until_stopped(main(taken)))
