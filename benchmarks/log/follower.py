"""A relay that follows the log of a database: `python -m benchmarks.log.follower DSN`."""

from __future__ import annotations

import asyncio
import sys

from flowcraft import Channels
from flowcraft.adapters.postgres.listener import PostgresListener
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.cursors import ResetReason
from flowcraft.records import Batch
from flowcraft.runtime.relay import Relay


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
    log = PostgresLog(dsn)
    listener = PostgresListener(dsn, Channels(), lambda _: None)

    listening = asyncio.create_task(listener.run())
    await listener.until_connected()
    await asyncio.gather(listening, Relay(log, listener, Following()).run())


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(sys.argv[1]))
