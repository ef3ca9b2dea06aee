"""The listener: wakes the relay when the log may have grown, and delivers events that a NOTIFY carries."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import assert_never, final

from flowcraft.adapters.postgres.ephemeral import EphemeralNotifications
from flowcraft.adapters.postgres.listen_connection import ListenConnection
from flowcraft.channels import Channels
from flowcraft.core.first_reader import (
    CountReaders,
    FirstReader,
    FirstStep,
    LeaveFirst,
    ListenToWriters,
    TryFirst,
)
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

PREPARED_SECONDS = 0.1
"""Where transactions can be prepared, writers do not notify, and the log is read this often.

A read takes 0.2 to 0.35 ms of the database's processor: 3 ms a second for each node.
"""


@final
class PostgresListener:
    """Wakeups from PostgreSQL, over one dedicated connection, as long as `run` runs.

    Without the connection, or where notifications do not arrive (`polling`), `wait` returns after a time: the
    reader then polls the log, which loses nothing. `on_ephemeral` must not block. `observe` must be called
    with each batch of the reader's tail before the next `wait`. `notifications` counts the wakeups.
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
        self.notifications = 0
        self.polling = False
        self.last_error: str | None = None
        self._joined = False
        self._dsn = dsn
        self._ephemeral = EphemeralNotifications(channels, on_ephemeral)
        self._safety_seconds = safety_seconds
        self._polling_seconds = polling_seconds
        self._probe_seconds = probe_seconds
        self._check_seconds = check_seconds
        self._machine = WakeupMachine(safety_seconds=safety_seconds)
        self._first = FirstReader()
        self._timed_out = False
        self._connection: ListenConnection | None = None
        self._connected = asyncio.Event()
        self._disconnected = asyncio.Event()
        self._disconnected.set()
        self._woken = asyncio.Event()
        self._waited = float("inf")  # no earlier wait: the first one counts as a long pause
        self._last_tail: Batch | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection that listens, or tries to (`polling`)."""
        return self._connected.is_set()

    @property
    def trouble(self) -> str | None:
        """Why no wakeups arrive, if none do."""
        if self.polling and self.connected:
            return f"notifications do not come through; reading every {self._polling_seconds} s"
        return self.last_error

    @property
    def machine_state(self) -> State:
        """The state of the machine that decides when to read, connected or not."""
        return self._machine.state

    @property
    def state(self) -> StateWord:
        """How the next read is found: `ports.Wakeups`."""
        if self._connection is None or self.polling:
            return "polling"
        match self._machine.state:
            case Idle():
                return "idle"
            case Follower():
                return "follower"
            case Leader() | Releasing():
                return "leader"

    @property
    def is_first(self) -> bool:
        """Whether the writers notify this reader, and it notifies the others."""
        return self._first.is_first

    @property
    def listens_to_writers(self) -> bool:
        """Whether the notifications of writers arrive here."""
        return self._first.listens_to_writers

    @property
    def rejected(self) -> int:
        """How many notifications with a payload were rejected."""
        return self._ephemeral.rejected

    async def until_connected(self) -> None:
        """Wait until there is a connection, and whether notifications arrive over it is known."""
        await self._connected.wait()

    async def until_disconnected(self) -> None:
        """Wait until there is no connection."""
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
            self._disconnect()

    def observe(self, batch: Batch) -> None:
        """Record what the reader's tail returned."""
        self._last_tail = batch

    async def wait(self) -> None:
        """Return when it is worth reading again, at the latest after the safety interval."""
        connection, batch, self._last_tail = self._connection, self._last_tail, None
        if connection is None or self.polling:
            await self._rest(self._polling_seconds if self.polling else self._safety_seconds)
            return
        try:
            # Without a tail since the last wait (a start, a reset) no transaction counts as read.
            snapshot, records = (Snapshot(0), 0) if batch is None else (batch.snapshot, len(batch.records))
            self._machine.round_trip = connection.round_trip
            await self._arrange_first(connection, records)
            step = self._machine.observe(
                snapshot,
                records,
                waited=self._waited,
                now=time.monotonic(),
                must_notify=self._first.must_notify(),
            )
            while not isinstance(step, Read | Wait):
                step = await self._perform(connection, step)
        except LogUnavailable:
            step = Read()  # `run` ends as well; the reader continues, at the pace of the safety poll
        await self._rest(step.seconds if isinstance(step, Wait) else 0)

    def hurry(self) -> None:
        """Make the present or next `wait` return at once."""
        self._woken.set()

    async def _serve(self) -> None:
        """Connect, listen, test whether notifications arrive; wake the relay until the connection ends."""
        async with ListenConnection.open(
            self._dsn, self._ephemeral.topics, self._wake, self._ephemeral.accept
        ) as connection:
            self.polling = not await connection.proves_notifications(self._probe_seconds)
            if self.polling:
                logger.warning(
                    "notifications do not come through (a pooler in transaction mode?); "
                    "reading every %.1f s instead; give the listener a direct connection",
                    self._polling_seconds,
                )
            self._joined = self.polling or await self._join(connection)
            await self._read_key(connection, is_new=True)
            self._machine = WakeupMachine(safety_seconds=await self._longest_wait(connection))
            self._first = FirstReader()
            self._connection = connection
            self.last_error = None
            self._connected.set()
            self._disconnected.clear()
            # Read after LISTEN, not before: a commit in between would notify no listener.
            self._woken.set()
            try:
                await self._check_connection(connection)
            finally:
                await self._leave_first(connection)

    async def _join(self, connection: ListenConnection) -> bool:
        joined = await connection.join()
        if not joined:
            logger.error(
                "another session holds the readers lock for itself, so writers may send no wakeups; the log "
                "is read every %.1f s; `flowcraft doctor` names the session",
                self._safety_seconds,
            )
        return joined

    async def _read_key(self, connection: ListenConnection, *, is_new: bool = False) -> None:
        """Read the key of ephemeral events; on a new connection, those from now on are delivered."""
        allowed = await connection.may_check()
        if allowed is None:
            self._ephemeral.trust_all()
            return
        found = await connection.ephemeral_key() if allowed else None
        if found is None and is_new:
            logger.error(
                "ephemeral events are rejected: the server's role may not read their key; run `grant execute "
                "on function flowcraft.ephemeral_key to` this role, or `flowcraft migrate` if it may"
            )
        key, newest = found or (None, 0)
        self._ephemeral.trust(key, newest, begin=is_new)

    async def _longest_wait(self, connection: ListenConnection) -> float:
        if await connection.writers_notify():
            return self._safety_seconds
        logger.info(
            "max_prepared_transactions is not 0: writers do not notify, unless their role has "
            "flowcraft.notify = 'on'; the log is read every %.1f s",
            PREPARED_SECONDS,
        )
        return min(self._safety_seconds, PREPARED_SECONDS)

    async def _check_connection(self, connection: ListenConnection) -> None:
        while True:
            try:
                async with asyncio.timeout(self._check_seconds):
                    await connection.lost.wait()
            except TimeoutError:
                if await connection.proves_notifications(self._probe_seconds) is not self.polling:
                    self._joined = self._joined or await self._join(connection)
                    await self._read_key(connection)
                    continue
                raise LogUnavailable(
                    "notifications began or ceased to arrive; the listener connects again"
                ) from None
            raise LogUnavailable("the listener's connection was lost")

    async def _perform(
        self, connection: ListenConnection, step: TryLock | Unlock | DrawMark | NotifyOthers
    ) -> Step:
        match step:
            case TryLock():
                taken = await connection.try_lock()
                self._machine.round_trip = connection.round_trip
                return self._machine.lock_tried(taken=taken, now=time.monotonic())
            case Unlock():
                await connection.unlock()
                return self._machine.unlocked()
            case DrawMark():
                return self._machine.marked(await connection.draw_mark())
            case NotifyOthers():
                await connection.notify_others(time.monotonic())
                return self._machine.notified(time.monotonic())

    async def _arrange_first(self, connection: ListenConnection, records: int) -> None:
        """Find out which reader the writers notify, and listen to them or not."""
        first = self._first
        first.observe(records, timed_out=self._timed_out)
        while step := first.next(time.monotonic(), is_far=self._machine.is_far):
            await self._perform_first(connection, first, step)

    async def _perform_first(self, connection: ListenConnection, first: FirstReader, step: FirstStep) -> None:
        match step:
            case CountReaders():
                first.counted(time.monotonic(), await connection.count_readers())
            case TryFirst():
                first.tried(time.monotonic(), taken=await connection.try_first())
            case LeaveFirst():
                await connection.leave_first()
                first.left()
            case ListenToWriters(begins):
                await connection.listen_to_writers(begins=begins)
                first.listening(begins=begins)
                if begins:
                    self._woken.set()  # what was committed before has notified no one here: read it now
            case _:
                assert_never(step)

    async def _leave_first(self, connection: ListenConnection) -> None:
        """Let another reader be the first at once, if that is possible; it finds out by itself otherwise."""
        if self._first.is_first:
            with suppress(LogUnavailable):
                await connection.leave_first()

    async def _rest(self, seconds: float) -> None:
        began = time.monotonic()
        if seconds:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._woken.wait()
        self._timed_out = seconds >= self._machine.safety_seconds and not self._woken.is_set()
        self._woken.clear()
        self._waited = time.monotonic() - began

    def _wake(self, by_writer: bool) -> None:  # the connection's
        self.notifications += 1
        self._first.notified(by_writer=by_writer)
        self._woken.set()

    def _disconnect(self) -> None:
        self._connection = None
        self._connected.clear()
        self._disconnected.set()
        self._woken.set()
