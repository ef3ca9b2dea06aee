"""The lookout: one timer of a node that looks at the connections whose bytes wait."""

from __future__ import annotations

import asyncio
import logging

from flowcraft.core.counts import Histogram
from flowcraft.ports import Clock, Connection

logger = logging.getLogger("flowcraft")


class Lookout:
    """Asks each connection it was told of to bound its queue, until nothing waits there any more."""

    def __init__(self, queue_seconds: float, clock: Clock, delay: Histogram) -> None:
        self._every = min(1.0, queue_seconds / 5)
        self._clock = clock
        self._delay = delay
        self._waiting: dict[Connection, None] = {}

    def watch(self, connection: Connection) -> None:
        """Look at a connection from now on."""
        self._waiting[connection] = None

    def waiting(self) -> list[int]:
        """Return how many bytes wait for each connection for which some do."""
        return [size for connection in self._waiting if (size := connection.waiting_bytes)]

    async def run(self) -> None:
        """Look until cancelled; how much too late it comes is how late everything comes."""
        while True:
            due = self._clock.monotonic() + self._every
            await asyncio.sleep(self._every)
            now = self._clock.monotonic()
            self._delay.observe(max(0.0, now - due))
            self._look(now)

    def _look(self, now: float) -> None:
        for connection in list(self._waiting):
            try:
                waits = connection.bound_queue(now)
            except Exception:
                logger.exception("a connection cannot be looked at")
                waits = False
            if not waits:
                del self._waiting[connection]
