"""Delivery: pass batches from the relay to the hub, and the hub's effects to the senders."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, assert_never

from flowcraft.core.bundles import Encoder, Outgoing, Part, recipients, resets_instead
from flowcraft.core.hub import Effect, Hub, ReadNow, ReadReplay, SessionId
from flowcraft.core.replay import Replay
from flowcraft.cursors import ResetReason
from flowcraft.errors import CursorUnusable, LogUnavailable
from flowcraft.ports import Clock
from flowcraft.records import Batch, Ephemeral
from flowcraft.runtime.fanout import FanOut, Recipient
from flowcraft.runtime.isolation import Isolation
from flowcraft.runtime.replays import Answer
from flowcraft.runtime.telemetry import Telemetry
from flowcraft.settings import Settings

logger = logging.getLogger(__name__)


class ReadRequests(Protocol):
    """Takes the hub's requests to read the log."""

    def read_replay(self, replay: Replay) -> None:
        """Read the log for a replay, and call `Delivery.answer` with the result."""
        ...

    def read_now(self) -> None:
        """Have the relay read without waiting for a wakeup."""
        ...

    def has_read(self) -> None:
        """Note that the relay has read."""
        ...

    def reconnect(self, session: SessionId) -> None:
        """Drain one client: its replay cannot be read now."""
        ...


class Delivery:
    """Owns the hub of a node, which exists after the first read of the log.

    An item that fails is reported and answered; the others are not affected.
    """

    def __init__(
        self,
        senders: Mapping[SessionId, Recipient],
        requests: ReadRequests,
        *,
        settings: Settings,
        clock: Clock,
        telemetry: Telemetry,
        fan_out: FanOut,
        isolation: Isolation,
    ) -> None:
        self._senders = senders
        self._requests = requests
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
        with self._isolation.guard("telemetry", "the time of a read"):
            self._telemetry.reading()

    def feed(self, batch: Batch) -> None:
        """Fan out a batch."""
        self._confirm_read()
        hub = self.require_hub()
        subscribed = sum([hub.subscriber_count(record.channel) > 0 for record in batch.records])
        for event in batch.unreadable:
            self._isolation.report("event", f"{event.id} on {event.channel:.120}", ValueError(event.reason))
        try:
            effects = hub.broadcast(batch, self.read_at)
        except Exception:
            # Which sessions have the batch is unknown: it may have failed half-way.
            logger.exception(
                "fan-out of the batch up to %.64s failed; every subscriber gets a reset", batch.cursor
            )
            self.begin(replace(batch, records=(), unreadable=()), "unreadable")
            return
        with self._isolation.guard("telemetry", "the measures of a read"):
            self._telemetry.read(batch, subscribed, effects)
        self.perform(effects)

    def begin(self, start: Batch, reason: ResetReason) -> None:
        """Begin at a position that does not continue the last one; every subscription is reset."""
        self._confirm_read()
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
            for sender in list(self._senders.values()):
                sender.fail(error)
        else:
            self.perform(effects)

    async def until_sent(self) -> None:
        """Wait until everything has been sent or is in an outbox."""
        await self._fan_out.until_idle()
        with self._isolation.guard("telemetry", "the measures of a write"):
            self._telemetry.written()

    # called by the node

    def require_hub(self) -> Hub:
        """Return the hub, which connections imply."""
        assert self.hub is not None, "connections are accepted only once there is a hub"
        return self.hub

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
                case ReadReplay(replay):
                    self._requests.read_replay(replay)
                case ReadNow():
                    with self._isolation.guard("relay", "a wakeup"):
                        self._requests.read_now()
                case _:
                    self._deliver(effect, encoder)

    def answer(self, answers: Sequence[tuple[Replay, Answer]]) -> None:
        """Pass answers of the log to the hub in one step, so that each record is encoded once."""
        effects: list[Effect] = []
        for replay, answer in answers:
            try:
                effects += self._answered(replay, answer)
            except Exception as error:  # noqa: BLE001  # reported there
                effects += self._give_up(replay, error)
        self.perform(effects)

    def _confirm_read(self) -> None:
        self.read_at = self._clock.monotonic()
        self._requests.has_read()

    def _deliver(self, effect: Outgoing, encoder: Encoder) -> None:
        try:
            part, to = encoder.encode(effect)
        except Exception as error:  # noqa: BLE001  # reported there
            self._isolation.report(
                "delivery", f"{type(effect).__name__} {recipients(effect, self._isolation.connection)}", error
            )
            for reset in resets_instead(effect):
                self._deliver(reset, encoder)
        else:
            self._fan_out.write(part, to)

    def _answered(self, replay: Replay, answer: Answer) -> list[Effect]:
        hub = self.require_hub()
        match answer:
            case Batch():
                effects = hub.replayed(replay, answer)
                self._counts.replays_from_log += 1
                return effects
            case CursorUnusable():
                return hub.replay_failed(replay, answer.reason)
            case LogUnavailable():
                self._requests.reconnect(replay.session)
                return []
        assert_never(answer)

    def _give_up(self, replay: Replay, error: Exception) -> list[Effect]:
        """Reset a replay with which the hub failed; if that fails too, close its connection."""
        self._isolation.report(
            "replay", f"the replay for {self._isolation.connection(replay.session)}", error
        )
        effects = self._isolation.attempt(
            "replay",
            f"the reset of {self._isolation.connection(replay.session)}",
            lambda: self.require_hub().replay_failed(replay, "unreadable"),
        )
        sender = self._senders.get(replay.session)
        if not effects and sender is not None:
            sender.fail(error)
        return effects or []
