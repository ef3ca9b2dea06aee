"""The lookout: one timer of a node that looks at the connections whose bytes wait."""

from __future__ import annotations

import asyncio
import logging

from flowcraft.ports import Clock, Connection

logger = logging.getLogger("flowcraft")


class Lookout:
    """Asks each connection it was told of to bound its queue, until nothing waits there any more."""

    def __init__(self, queue_seconds: float, clock: Clock) -> None:
        self._every = min(1.0, queue_seconds / 5)
        self._clock = clock
        self._waiting: dict[Connection, None] = {}

    def watch(self, connection: Connection) -> None:
        """Look at a connection from now on."""
        self._waiting[connection] = None

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(self._every)
            self._look(self._clock.monotonic())

    def _look(self, now: float) -> None:
        for connection in list(self._waiting):
            try:
                waits = connection.bound_queue(now)
            except Exception:
                logger.exception("a connection cannot be looked at")
                waits = False
            if not waits:
                del self._waiting[connection]
