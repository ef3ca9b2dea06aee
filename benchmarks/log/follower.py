"""A relay that follows the log of a database: `python -m benchmarks.log.follower DSN`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from flowcraft import Channels
from flowcraft.adapters.postgres.backend import PostgresBackend
from flowcraft.cursors import ResetReason
from flowcraft.ports import BackendContext, LogReader
from flowcraft.records import Batch
from flowcraft.runtime.relay import Relay
from flowcraft.settings import Settings


@asynccontextmanager
async def reading(dsn: str) -> AsyncIterator[LogReader]:
    """The parts with which a node reads the log of a database, as its backend composes them."""
    backend = PostgresBackend(dsn)
    reader = backend.open(BackendContext(Channels(), Settings(), lambda _: None, lambda _: None))
    tasks = [asyncio.ensure_future(run()) for run in reader.upkeep.values()]
    try:
        await backend.until_listening()
        yield reader
    finally:
        for task in tasks:
            task.cancel()
        await backend.close()


@asynccontextmanager
async def followed(dsn: str) -> AsyncIterator[None]:
    """A relay of a node, in a process of its own."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.log.follower", dsn, stdout=asyncio.subprocess.PIPE
    )
    assert program.stdout is not None
    try:
        assert await program.stdout.readline() == b"following\n"
        yield
    finally:
        program.kill()
        await program.wait()


class Following:
    """Takes batches; a `flowcraft.runtime.relay.Receiver`."""

    def reading(self) -> None:
        pass

    def feed(self, batch: Batch) -> None:
        pass

    def begin(self, start: Batch, reason: ResetReason) -> None:  # noqa: ARG002  # the relay's
        print("following", flush=True)

    async def until_sent(self) -> None:
        pass


async def main(dsn: str) -> None:
    """Follow until killed."""
    async with reading(dsn) as reader:
        await Relay(reader.log, reader.wakeups, Following()).run()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(sys.argv[1]))
