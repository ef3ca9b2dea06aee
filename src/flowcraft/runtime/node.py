"""The node: the live part of one server process, which joins the relay, the hub and the gateways."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections.abc import Iterable, Sequence
from typing import assert_never

from flowcraft.channels import Channels
from flowcraft.core import frames
from flowcraft.core.bundles import Bundle, Encoder
from flowcraft.core.conflation import Conflation
from flowcraft.core.hub import Effect, Hub, ReadNow, ReadReplay, SessionId
from flowcraft.core.replay import Replay
from flowcraft.core.report import Counts, NodeReport, State
from flowcraft.core.session import Session
from flowcraft.cursors import Cursor, ResetReason
from flowcraft.errors import CursorUnusable, LimitExceeded, LogUnavailable
from flowcraft.ports import Authorizer, Clock, Connection, EventLog, Tracer, Wakeups
from flowcraft.records import Batch, Ephemeral, Limit
from flowcraft.runtime.fanout import SLICE, FanOut
from flowcraft.runtime.gateway import Gateway, GatewayContext
from flowcraft.runtime.outbox_sweep import OutboxSweep
from flowcraft.runtime.relay import Relay
from flowcraft.runtime.replays import Answer, Replays
from flowcraft.runtime.sender import SenderContext
from flowcraft.runtime.supervisor import Supervisor
from flowcraft.runtime.telemetry import Telemetry
from flowcraft.settings import Settings

_LONGEST_DETOUR_MS = 500
"""Who is sent away comes back within this time: the drain itself spreads the clients."""


class Node:
    """Serves connections from one log. Start it in a running event loop; stop it before the loop ends."""

    def __init__(
        self,
        channels: Channels,
        log: EventLog,
        wakeups: Wakeups,
        *,
        settings: Settings,
        authorizer: Authorizer | None,
        clock: Clock,
        tracer: Tracer | None = None,
    ) -> None:
        self._channels = channels
        self._schema = channels.schema_hash()
        self._log = log
        self._settings = settings
        self._clock = clock
        self._hub: Hub | None = None
        self._gateways: dict[SessionId, Gateway] = {}
        self._numbers = itertools.count(1)
        self.supervisor = Supervisor()
        self.counts = Counts()
        self._telemetry = Telemetry(channels, self.counts, clock, tracer)
        self._fan_out = FanOut(self._gateways, self.supervisor)
        self._relay = Relay(
            log,
            wakeups,
            feed=self._feed,
            begin=self._begin,
            paced=self._until_written,
            reading=self._telemetry.reading,
            limit=Limit(settings.backlog_events),
        )
        self._wakeups = wakeups
        self._read_at = float("-inf")
        self._started = clock.monotonic()
        self._has_read = asyncio.Event()
        self._draining = False
        self._sweep = OutboxSweep(settings.outbox_seconds, clock, self.counts.loop_delay)
        self._replays = Replays(log, self.supervisor, self._answer, settings, self.counts)
        self._context = GatewayContext(
            self,
            authorizer,
            self.supervisor,
            SenderContext(settings, clock, self.counts, self._sweep, Conflation(channels) or None),
        )

    @property
    def settings(self) -> Settings:
        """The limits in force."""
        return self._settings

    @property
    def accepting(self) -> bool:
        """Whether new connections are taken: not by one that cannot tell them anything new, or is full."""
        if self._hub is None or self._draining or len(self._gateways) >= self._settings.connections:
            return False
        return self._is_fresh()

    async def until_accepting(self) -> None:
        """Wait until the log has been read for the first time."""
        await self._has_read.wait()

    def start(self) -> None:
        """Begin to follow the log."""
        self.supervisor.keep("relay", self._relay.run)
        self.supervisor.keep("heartbeat", self._beat)
        self.supervisor.keep("outbox-sweep", self._sweep.run)

    async def stop(self) -> None:
        """Stop following; connections should have been drained before."""
        await self.supervisor.stop()

    def report(self) -> NodeReport:
        """Return what this node is and did."""
        hub, waiting = self._hub, self._sweep.waiting_bytes()
        state, tasks = self._state(), self.supervisor.report()
        errors = {name: task.last_error for name, task in tasks.items() if task.last_error}
        if self._wakeups.trouble is not None:
            errors["wakeups"] = self._wakeups.trouble
        return NodeReport(
            pid=os.getpid(),
            ready=state == "live",
            state=state,
            wakeup=self._wakeups.state,
            connections=len(self._gateways),
            subscriptions=0 if hub is None else hub.subscription_count,
            subscribers={d.name: hub.family_subscriber_count(d.prefix) if hub else 0 for d in self._channels},
            waiting_connections=len(waiting),
            outbox_bytes=sum(waiting),
            relay_lag_seconds=self._clock.monotonic() - max(self._read_at, self._started),
            errors=errors,
            tasks=tasks,
            counts=self.counts,
        )

    def connect(
        self, connection: Connection, channels: Sequence[str] = (), since: str | None = None
    ) -> Gateway:
        """Take a connection whose handshake is done.

        Raises:
            LogUnavailable: nothing can be served now; the client should come back.
        """
        if self._hub is None or not self.accepting:
            raise LogUnavailable(self._obstacle())
        number = next(self._numbers)
        authorizer = self._context.authorizer
        required = authorizer is not None and authorizer.required
        session = Session(self._channels, self._settings, token_required=required)
        gateway = Gateway(number, session, connection, self._context)
        self._gateways[number] = gateway
        self.counts.connections += 1
        self._hub.connect(number)
        gateway.open(self._hub.cursor, self._schema, channels, since)
        return gateway

    async def drain(self) -> None:
        """Refuse new connections and send the present ones away, one by one, evenly over the drain time."""
        self._draining = True
        gateways = list(self._gateways.values())
        began, seconds = self._clock.monotonic(), self._settings.drain_seconds
        for number, gateway in enumerate(gateways, 1):
            if gateway.number in self._gateways:
                gateway.drain(random.randint(0, _LONGEST_DETOUR_MS))  # noqa: S311  # jitter, no secret
            wait = began + seconds * number / len(gateways) - self._clock.monotonic()
            await asyncio.sleep(max(0.0, wait) if self._gateways else 0)

    def broadcast_ephemeral(self, event: Ephemeral) -> None:
        """Deliver an event outside the log to the clients that are connected."""
        if self._hub is not None:
            self._perform(self._hub.broadcast_ephemeral(event))

    # The gateways' side (runtime.gateway.HubPort)

    def subscribe(
        self, session: SessionId, channels: tuple[str, ...], since: Cursor | None, ref: int | None
    ) -> None:
        self.counts.resumes += since is not None
        self._perform(self._require_hub().subscribe(session, channels, since, ref))

    def reset_subscription(
        self, session: SessionId, channels: tuple[str, ...], reason: ResetReason, ref: int | None
    ) -> None:
        self.counts.resumes += 1
        self._perform(self._require_hub().reset(session, channels, reason, ref))

    def unsubscribe(self, session: SessionId, channels: tuple[str, ...]) -> None:
        self._require_hub().unsubscribe(session, channels)

    def settle(self, session: SessionId, xid: int) -> None:
        hub, limit = self._require_hub(), self._settings.settles_per_connection
        if hub.settling_count(session) >= limit and not hub.has_settled(xid):
            excess = LimitExceeded(
                f"at most {limit} transactions to wait for; ask again when one has settled"
            )
            self._fan_out.write(Bundle([frames.error(excess)]), (session,))
        else:
            self._perform(hub.settle(session, xid))

    def disconnect(self, session: SessionId) -> None:
        self._gateways.pop(session, None)
        self._require_hub().disconnect(session)

    # The relay's side

    def _feed(self, batch: Batch) -> None:
        self._confirm_read()
        hub = self._require_hub()
        followed = sum([hub.subscriber_count(record.channel) > 0 for record in batch.records])
        effects = hub.broadcast(batch, self._read_at)
        self._telemetry.read(batch, followed, effects)
        self._perform(effects)

    async def _until_written(self) -> None:
        await self._fan_out.until_idle()
        self._telemetry.written()

    def _begin(self, start: Batch, reason: ResetReason) -> None:
        self._confirm_read()
        self._telemetry.begun(start)
        if self._hub is None:
            self._hub = Hub(start, self._settings, self.counts)
            self._has_read.set()
        else:
            self._perform(self._hub.restart(start, reason))

    def _confirm_read(self) -> None:
        self._read_at = self._clock.monotonic()
        self.supervisor.recovered("relay")

    def _state(self) -> State:
        if self._draining:
            return "draining"
        if self._hub is None:
            return "starting"
        return "live" if self._is_fresh() else "stale"

    def _is_fresh(self) -> bool:
        # Five missed polls: one may be late on a busy machine, five mean that the log cannot be read.
        return self._clock.monotonic() - self._read_at < 5 * self._settings.safety_poll_seconds

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._settings.heartbeat_seconds)
            sessions = list(self._gateways)
            for first in range(0, len(sessions), SLICE):
                self._tell_position(sessions[first : first + SLICE])
                await asyncio.sleep(0)

    def _tell_position(self, sessions: Sequence[SessionId]) -> None:
        if self._hub is not None and self._is_fresh():
            self._perform(self._hub.heartbeat(sessions))
        for session in sessions:
            gateway = self._gateways.get(session)
            if gateway is not None:
                gateway.ping()

    def _obstacle(self) -> str:
        if self._draining:
            return "this node is draining"
        full = len(self._gateways) >= self._settings.connections
        return "this node is full" if full else "the log cannot be read now"

    def _require_hub(self) -> Hub:
        assert self._hub is not None, "connections are taken only once there is a hub"
        return self._hub

    def _perform(self, effects: Iterable[Effect]) -> None:
        encoder = Encoder(self.counts)
        for effect in effects:
            match effect:
                case ReadReplay(replay):
                    self._replays.add(replay)
                case ReadNow():
                    self._wakeups.hurry()
                case _:
                    self._fan_out.write(*encoder.encode(effect))

    def _answer(self, answers: Sequence[tuple[Replay, Answer]]) -> None:
        """Pass on what the log says to those that catch up; in one go, so that a record is encoded once."""
        hub = self._require_hub()
        effects: list[Effect] = []
        for replay, answer in answers:
            match answer:
                case Batch():
                    self.counts.replays_from_log += 1
                    effects += hub.replayed(replay, answer)
                case CursorUnusable():
                    effects += hub.replay_failed(replay, answer.reason)
                case LogUnavailable():
                    self._send_away(replay.session)
                case _ as never:
                    assert_never(never)
        self._perform(effects)

    def _send_away(self, session: SessionId) -> None:
        # Not an answer to the client's question: it comes back, and asks again, once the log can be read.
        gateway = self._gateways.get(session)
        if gateway is not None:
            gateway.drain(int(1000 * self._settings.safety_poll_seconds))
