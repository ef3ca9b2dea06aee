"""A relay that follows a log with a listener, and tells a test what it has read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from flowcraft.adapters.postgres.listener import PostgresListener
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.channels import Channels
from flowcraft.core.wakeup import State
from flowcraft.cursors import Cursor, ResetReason
from flowcraft.records import Batch, Limit
from flowcraft.runtime.relay import Relay
from flowcraft.runtime.supervisor import Supervisor

NEVER = 30.0
"""A safety interval that no test outlives: what arrives was rung for."""


class Followed:
    """What a relay has read so far; `until` waits for more."""

    def __init__(self, log: PostgresLog, listener: PostgresListener) -> None:
        self.payloads: list[str] = []
        self.states: set[type[State]] = set()
        self.reads = 0
        self.beginnings = 0
        self.reasons: list[ResetReason] = []
        self.listener = listener
        self.held = False
        self._changed = asyncio.Event()
        self._going = asyncio.Event()
        self._going.set()
        self._relay = Relay(_Observed(log, listener), listener, self)

    async def run(self) -> None:
        self.held = not self._going.is_set()
        self._changed.set()
        await self._going.wait()
        await self._relay.run()

    def hold(self) -> None:
        """The next time that the relay has failed, have it wait: `held` tells that it does."""
        self._going.clear()

    def go_on(self) -> None:
        """Let it read again."""
        self._going.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_read(self, count: int) -> None:
        await self.until(lambda: len(self.payloads) >= count)

    # what the relay calls (flowcraft.runtime.relay.Receiver)

    def reading(self) -> None:
        pass

    async def until_sent(self) -> None:
        pass

    def begin(self, start: Batch, reason: ResetReason) -> None:
        self.reasons.append(reason)
        self.beginnings += 1
        self._changed.set()

    def feed(self, batch: Batch) -> None:
        self.reads += 1
        self.states.add(type(self.listener.machine_state))
        self.payloads += [record.payload for record in batch.records]
        self._changed.set()


class _Observed:
    """One relay's view of a log that a test reads too: its tails alone are observed by its listener."""

    def __init__(self, log: PostgresLog, listener: PostgresListener) -> None:
        self.position = log.position
        self.replay = log.replay
        self.rewound = log.rewound
        self._log = log
        self._listener = listener

    async def tail(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        batch = await self._log.tail(after, limit=limit)
        self._listener.observe(batch)
        return batch


@asynccontextmanager
async def following(
    log: PostgresLog,
    dsn: str,
    safety_seconds: float = NEVER,
    **options: Any,
) -> AsyncIterator[Followed]:
    """Follow a log, restarted when it fails, until the block ends."""
    listener = PostgresListener(dsn, Channels(), lambda _: None, safety_seconds=safety_seconds, **options)
    followed = Followed(log, listener)
    async with listening(listener) as supervisor:
        await asyncio.wait_for(listener.until_connected(), 10)
        supervisor.keep("relay", followed.run)
        await followed.until(lambda: followed.reads >= 1)
        yield followed


@asynccontextmanager
async def listening(listener: PostgresListener) -> AsyncIterator[Supervisor]:
    """Keep a listener connected until the block ends, as a node does."""
    supervisor = Supervisor()
    supervisor.keep("listener", listener.run)
    try:
        yield supervisor
    finally:
        await supervisor.stop()
