"""Delivery: pass batches from the relay to the hub, fan its effects out to the senders, and time that."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from flowcraft.core import answers
from flowcraft.core.answers import Part
from flowcraft.core.bundles import Bundle, Encoder
from flowcraft.core.counts import Counts
from flowcraft.core.delays import CommitDelay
from flowcraft.core.hub import Hub
from flowcraft.core.hub_effects import (
    Deliver,
    Effect,
    Outgoing,
    ReadNow,
    ReadReplay,
    ReadState,
    SessionId,
    recipients,
    resets_instead,
)
from flowcraft.core.replay import Replay
from flowcraft.core.states import StateRequest
from flowcraft.core.subscriptions import Subscriptions
from flowcraft.core.withdrawals import EVERYTHING, Withdrawal
from flowcraft.cursors import Cursor, ResetReason
from flowcraft.fan_out import Target, send_all
from flowcraft.ports import Clock, Wakeups
from flowcraft.records import Batch, Ephemeral, Kind
from flowcraft.runtime.isolation import Isolation
from flowcraft.runtime.sender import Sender
from flowcraft.runtime.supervisor import Supervisor
from flowcraft.runtime.tracing import Tracing
from flowcraft.settings import Settings

logger = logging.getLogger(__name__)

SLICE = 250
"""Writes at a turn of the event loop: each takes about 5 µs, of which Python takes less than one."""


class Delivery:
    """Owns the hub of a node, which exists after the first read of the log.

    An item that fails is reported and answered; the others are not affected.
    """

    def __init__(  # noqa: PLR0913  # the parts of a node that it joins
        self,
        fan_out: FanOut,
        telemetry: Telemetry,
        isolation: Isolation,
        *,
        settings: Settings,
        clock: Clock,
        wakeups: Wakeups,
        read_replay: Callable[[Replay], None],
        read_state: Callable[[StateRequest], None],
        withdraw: Callable[[Withdrawal, Cursor], None],
    ) -> None:
        """Take the parts.

        `read_replay` reads the log for a replay and answers the hub, `read_state` does so for the rows of a
        channel; `withdraw` ends rights.
        """
        self._withdraw = withdraw
        self._wakeups = wakeups
        self._read_replay = read_replay
        self._read_state = read_state
        self._settings = settings
        self._counts = isolation.counts
        self._clock = clock
        self._telemetry = telemetry
        self._fan_out = fan_out
        self._isolation = isolation
        self.hub: Hub | None = None
        self.read_at = float("-inf")
        """When the log was read last, in monotonic seconds; -inf before the first read."""
        self.began = asyncio.Event()
        """Set once there is a hub."""

    # called by the relay

    def reading(self) -> None:
        """Note that the log is about to be read."""
        self._telemetry.reading()

    def feed(self, batch: Batch) -> None:
        """Fan out a batch."""
        self.read_at = self._clock.monotonic()
        hub = self.require_hub()
        for record in batch.records:
            if record.kind is Kind.WITHDRAWAL:  # before the batch: no event after it may be delivered
                self._withdraw(Withdrawal.parse(record.payload), hub.cursor)
        subscribed = sum([hub.subscriber_count(record.channel) > 0 for record in batch.records])
        try:
            effects = hub.broadcast(batch, self.read_at)
        except Exception:
            # Which sessions have the batch is unknown: it may have failed half-way.
            logger.exception(
                "fan-out of the batch up to %.64s failed; every subscriber gets a reset", batch.cursor
            )
            self.begin(replace(batch, records=(), unreadable=()), "unreadable")
            return
        try:
            self._telemetry.read(batch, subscribed, effects)
        except Exception as error:  # noqa: BLE001  # reported there
            self._isolation.report("telemetry", "the measures of a read", error)
        self.perform(effects)

    def begin(self, start: Batch, reason: ResetReason) -> None:
        """Begin at a position that does not continue the last one; every subscription is reset."""
        self.read_at = self._clock.monotonic()
        with self._isolation.guard("telemetry", "the time of a start"):
            self._telemetry.begun(start)
        if self.hub is None:
            self.hub = Hub(start, self._settings, self._counts)
            self.began.set()
            return
        self._counts.failures["relay"] += reason == "unreadable"
        try:
            effects = self.hub.restart(start, reason)
        except Exception as error:  # noqa: BLE001  # reported there
            self._isolation.report("relay", "the reset of all subscribers", error)
            self.hub = Hub(start, self._settings, self._counts)
            self._fan_out.fail_all(error)
        else:
            self.perform(effects)
        self._withdraw(EVERYTHING, start.cursor)

    async def until_sent(self) -> None:
        """Wait until everything has been sent or is in an outbox."""
        await self._fan_out.until_idle()
        try:
            self._telemetry.written()
        except Exception as error:  # noqa: BLE001  # reported there
            self._isolation.report("telemetry", "the measures of a write", error)

    # called by the node

    def require_hub(self) -> Hub:
        """Return the hub, which connections imply."""
        assert self.hub is not None, "connections are accepted only once there is a hub"
        return self.hub

    @property
    def subscriptions(self) -> Subscriptions:
        """What the sessions of the hub have requested."""
        return self.require_hub().subscriptions

    def broadcast_ephemeral(self, event: Ephemeral) -> None:
        """Deliver an ephemeral event to the connected clients."""
        if self.hub is not None:
            self.perform(self.hub.broadcast_ephemeral(event))

    def heartbeat(self, sessions: Sequence[SessionId]) -> None:
        """Send sessions the position."""
        if self.hub is not None:
            with self._isolation.guard("delivery", "a heartbeat"):
                self.perform(self.hub.heartbeat(sessions))

    def send(self, part: Part, to: tuple[SessionId, ...]) -> None:
        """Send messages to sessions, after all earlier ones."""
        self._fan_out.write(part, to)

    def perform(self, effects: Iterable[Effect]) -> None:
        """Perform the effects of one step of the hub; each record is encoded once."""
        encoder = Encoder(self._counts)
        for effect in effects:
            match effect:
                case ReadReplay():
                    self._read_replay(effect.replay)
                case ReadState():
                    self._read_state(effect.request)
                case ReadNow():
                    with self._isolation.guard("relay", "a wakeup"):
                        self._wakeups.hurry()
                case _:
                    self._deliver(effect, encoder)

    def _deliver(self, effect: Outgoing, encoder: Encoder) -> None:
        try:
            part, to = (
                encoder.batch(effect) if isinstance(effect, Deliver) else answers.encode(effect, encoder)
            )
        except Exception as error:  # noqa: BLE001  # reported there
            self._isolation.report(
                "delivery", f"{type(effect).__name__} {recipients(effect, self._isolation.connection)}", error
            )
            for reset in resets_instead(effect):
                self._deliver(reset, encoder)
        else:
            self._fan_out.write(part, to)


class FanOut:
    """Writes parts to the senders of a node.

    The first few hundred are written at once. While others wait for their turn, every later part waits behind
    them, for all sessions: a commit point is a promise about the events before it.
    """

    def __init__(self, senders: Mapping[SessionId, Sender], supervisor: Supervisor) -> None:
        self._senders = senders
        self._targets: dict[SessionId, Target] = {}
        self._supervisor = supervisor
        self._waiting: deque[tuple[Part, tuple[SessionId, ...]]] = deque()
        self._is_busy = False
        """Whether some wait for their turn; `_idle` is for those who wait until none do."""
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, session: SessionId, sender: Sender) -> None:
        """Send to a session's socket directly while that is possible."""
        self._targets[session] = sender.target

    def remove(self, session: SessionId) -> None:
        """Send nothing more to a session; idempotent."""
        self._targets.pop(session, None)

    def write(self, part: Part, to: tuple[SessionId, ...]) -> None:
        """Write to sessions, after all earlier parts; sessions that have ended are skipped."""
        if not self._is_busy:
            if len(to) <= SLICE:
                self._write(part, to)
                return
            self._write(part, to[:SLICE])
            to = to[SLICE:]
            self._is_busy = True
            self._idle.clear()
            self._supervisor.spawn(self._write_rest(), "fan-out")
        self._waiting.append((part, to))

    def fail_all(self, error: BaseException) -> None:
        """Close every connection: what they miss is not known."""
        for sender in list(self._senders.values()):
            sender.fail(error)

    async def until_idle(self) -> None:
        """Wait until everything has been written."""
        await self._idle.wait()

    async def _write_rest(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(0)
                self._write_slice()
        finally:
            self._is_busy = False
            self._idle.set()

    def _write_slice(self) -> None:
        room = SLICE
        while room > 0 and self._waiting:
            part, to = self._waiting.popleft()
            if len(to) > room:
                self._waiting.appendleft((part, to[room:]))
            self._write(part, to[:room])
            room -= len(to)

    def _write(self, part: Part, to: tuple[SessionId, ...]) -> None:
        if isinstance(part, Bundle) and part.is_shared:
            rest = send_all(self._targets, to, part.framed, part.events)
        else:
            rest = [(session, 0) for session in to]
        for session, taken in rest:
            sender = self._senders.get(session)  # a write may close a connection during the loop
            if sender is None:
                continue
            try:
                sender.write(part, taken)
            except Exception as error:  # noqa: BLE001  # reported there
                sender.fail(error)


class Telemetry:
    """The measurements of one node, made once for each read: recipients cost nothing here.

    The delay of a batch ends when the kernel, or the outbox of a slow client, has the messages of its last
    recipient. All events of a batch count with the delay of the oldest; events without a subscriber on this
    node do not count.
    """

    def __init__(self, counts: Counts, clock: Clock, tracing: Tracing | None) -> None:
        self._counts = counts
        self._clock = clock
        self._tracing = tracing
        self._traced: Tracing | None = None
        """The tracing, if an event of the last batch has a trace."""
        self._commit_delay = CommitDelay()
        self._began = 0.0
        self._writing: Batch | None = None
        self._waited = 0.0
        self._subscribed = 0

    def reading(self) -> None:
        """Note that a read of the log begins."""
        self._began = self._clock.monotonic()

    def begun(self, start: Batch) -> None:
        """Start from a position that does not continue the last one."""
        self._commit_delay.begin(start)

    def read(self, batch: Batch, subscribed: int, effects: Iterable[Effect]) -> None:
        """Note a batch, how many of its events have subscribers here, and the hub's effects."""
        self._counts.reads += 1
        self._counts.events += len(batch.records)
        self._waited = self._commit_delay.of(batch)
        self._writing, self._subscribed = (batch, subscribed) if subscribed else (None, 0)
        self._traced = None
        if self._tracing is not None and any(record.trace for record in batch.records):
            self._traced = self._tracing
            self._traced.read(effects)

    def written(self) -> None:
        """Note that the batch has been written to all recipients."""
        batch, self._writing = self._writing, None
        if batch is None:
            return
        seconds = self._clock.monotonic() - self._began
        self._counts.commit_delay.observe(self._waited + seconds, self._subscribed)
        if self._traced is not None:
            self._traced.written(batch, seconds)
