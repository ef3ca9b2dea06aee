"""The listener: wakes the relay when the log may have grown, and hands on what is announced beside it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import final

from flowcraft.adapters.postgres.ephemeral import EphemeralNotifications
from flowcraft.adapters.postgres.listen_connection import ListenConnection
from flowcraft.channels import Channels
from flowcraft.core.wakeup import (
    DrawMark,
    Follower,
    Idle,
    Leader,
    NotifyOthers,
    Read,
    Releasing,
    State,
    StateWord,
    Step,
    TryLock,
    Unlock,
    Wait,
    WakeupMachine,
)
from flowcraft.cursors import Snapshot
from flowcraft.errors import LogUnavailable
from flowcraft.records import Batch, Ephemeral

logger = logging.getLogger(__name__)


@final
class PostgresListener:
    """Wakeups from PostgreSQL, over one dedicated connection, as long as `run` runs.

    Without the connection, or where notifications do not come through (`polling`), `wait` returns after a
    time: the log is the truth, and the listener only saves the reader from asking too often. `on_ephemeral`
    must not block. `observe` must be called with each batch of the reader's tail before the next `wait`.
    """

    def __init__(
        self,
        dsn: str,
        channels: Channels,
        on_ephemeral: Callable[[Ephemeral], None],
        *,
        safety_seconds: float = 1.0,
        polling_seconds: float = 0.2,
        probe_seconds: float = 2.0,
        check_seconds: float = 5.0,
    ) -> None:
        self.rings = 0
        self.polling = False
        self.last_error: str | None = None
        self._dsn = dsn
        self._announcements = EphemeralNotifications(channels, on_ephemeral)
        self._safety_seconds = safety_seconds
        self._polling_seconds = polling_seconds
        self._probe_seconds = probe_seconds
        self._check_seconds = check_seconds
        self._machine = WakeupMachine(safety_seconds=safety_seconds)
        self._line: ListenConnection | None = None
        self._connected = asyncio.Event()
        self._disconnected = asyncio.Event()
        self._disconnected.set()
        self._rung = asyncio.Event()
        self._waited = float("inf")
        self._last_tail: Batch | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection that listens, or tries to (`polling`)."""
        return self._connected.is_set()

    @property
    def trouble(self) -> str | None:
        """What keeps rings from coming, if anything does."""
        if self.polling and self.connected:
            return f"notifications do not come through; reading every {self._polling_seconds} s"
        return self.last_error

    @property
    def machine_state(self) -> State:
        """The state of the machine that decides when to read, connected or not."""
        return self._machine.state

    @property
    def state(self) -> StateWord:
        """How the wakeups come: `ports.Wakeups`."""
        if self._line is None or self.polling:
            return "polling"
        match self._machine.state:
            case Idle():
                return "idle"
            case Follower():
                return "follower"
            case Leader() | Releasing():
                return "leader"

    @property
    def rejected(self) -> int:
        """How many notifications with a payload were not let through."""
        return self._announcements.rejected

    async def until_connected(self) -> None:
        """Wait until there is a connection, and what it can do is known."""
        await self._connected.wait()

    async def until_disconnected(self) -> None:
        """Wait until there is none."""
        await self._disconnected.wait()

    async def run(self) -> None:
        """Connect, listen and wake the reader, for as long as the connection lasts.

        Raises:
            LogUnavailable: there is no connection (any more).
        """
        try:
            await self._serve()
        except LogUnavailable as error:
            self.last_error = str(error)
            raise
        finally:
            self._hang_up()

    def observe(self, batch: Batch) -> None:
        """Take note of what the reader's tail returned."""
        self._last_tail = batch

    async def wait(self) -> None:
        """Return when it is worth reading again, at the latest after the safety interval."""
        line, batch, self._last_tail = self._line, self._last_tail, None
        if line is None or self.polling:
            await self._rest(self._polling_seconds if self.polling else self._safety_seconds)
            return
        try:
            # Without a tail since the last wait (a start, a reset) no transaction counts as read.
            seen, records = (Snapshot(0), 0) if batch is None else (batch.snapshot, len(batch.records))
            step = self._machine.observe(seen, records, waited=self._waited, now=time.monotonic())
            while not isinstance(step, Read | Wait):
                step = await self._perform(line, step)
        except LogUnavailable:
            step = Read()  # `run` ends too; to go on reading is right, at the pace of the safety poll
        await self._rest(step.seconds if isinstance(step, Wait) else 0)

    def hurry(self) -> None:
        """Make the present or next `wait` return at once."""
        self._rung.set()

    async def _serve(self) -> None:
        """Connect, listen, prove that it works, then let the relay read; end when the connection does."""
        async with ListenConnection.open(
            self._dsn, self._announcements.topics, self._ring, self._announcements.accept
        ) as line:
            self.polling = not await line.proves_notifications(self._probe_seconds)
            if self.polling:
                logger.warning(
                    "notifications do not come through (a pooler in transaction mode?); "
                    "reading every %.1f s instead; give the listener a direct connection",
                    self._polling_seconds,
                )
            else:
                await line.join()
            self._machine.lost()
            self._line = line
            self.last_error = None
            self._connected.set()
            self._disconnected.clear()
            # Read after LISTEN, not before: a commit in between would ring for nobody.
            self._rung.set()
            await self._watch(line)

    async def _watch(self, line: ListenConnection) -> None:
        while True:
            try:
                async with asyncio.timeout(self._check_seconds):
                    await line.lost.wait()
            except TimeoutError:
                if await line.proves_notifications(self._probe_seconds) is not self.polling:
                    continue
                raise LogUnavailable("notifications come through differently than before") from None
            raise LogUnavailable("the listener's connection was lost")

    async def _perform(
        self, line: ListenConnection, step: TryLock | Unlock | DrawMark | NotifyOthers
    ) -> Step:
        match step:
            case TryLock():
                taken = await line.try_lock()
                return self._machine.lock_tried(taken=taken, now=time.monotonic())
            case Unlock():
                await line.unlock()
                return self._machine.unlocked()
            case DrawMark():
                return self._machine.marked(await line.draw_mark())
            case NotifyOthers():
                await line.notify_others(time.monotonic())
                return self._machine.notified(time.monotonic())

    async def _rest(self, seconds: float) -> None:
        began = time.monotonic()
        if seconds:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._rung.wait()
        self._rung.clear()
        self._waited = time.monotonic() - began

    def _ring(self) -> None:
        self.rings += 1
        self._rung.set()

    def _hang_up(self) -> None:
        self._line = None
        self._connected.clear()
        self._disconnected.set()
        self._rung.set()
