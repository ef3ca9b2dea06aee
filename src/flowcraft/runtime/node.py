"""Node: join the relay, the delivery and the gateways of one server process."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections.abc import Callable, Sequence
from functools import partial

from flowcraft.carrier_ports import Connection, Entrance
from flowcraft.channels import Channels
from flowcraft.core import frames
from flowcraft.core.addresses import limited_as
from flowcraft.core.bundles import Bundle
from flowcraft.core.conflation import Conflation
from flowcraft.core.counts import Counts
from flowcraft.core.hub_effects import SessionId
from flowcraft.core.replay import Replay
from flowcraft.core.report import EdgeReport, NodeReport, State
from flowcraft.core.session import Session
from flowcraft.core.states import StateRequest
from flowcraft.core.withdrawals import Withdrawal
from flowcraft.cursors import Cursor, ResetReason
from flowcraft.errors import LimitExceeded, LogUnavailable
from flowcraft.fan_out import IMPLEMENTATION
from flowcraft.ports import (
    Authorizer,
    Clock,
    EventLog,
    MemberStore,
    RequestAuthorizer,
    RowsReader,
    Tracer,
    Wakeups,
)
from flowcraft.records import Ephemeral, Limit
from flowcraft.runtime.decisions import Guards
from flowcraft.runtime.delivery import SLICE, Delivery, FanOut, Telemetry
from flowcraft.runtime.gateway import Gateway, GatewayContext
from flowcraft.runtime.isolation import Isolation
from flowcraft.runtime.outbox_sweep import OutboxSweep
from flowcraft.runtime.presence import Presence
from flowcraft.runtime.relay import Relay
from flowcraft.runtime.replays import ReplayAnswers, Replays
from flowcraft.runtime.sender import SenderContext
from flowcraft.runtime.state_answers import StateAnswers
from flowcraft.runtime.states import States
from flowcraft.runtime.supervisor import Supervisor
from flowcraft.runtime.tally import Present, Tally
from flowcraft.runtime.tracing import Tracing
from flowcraft.settings import Settings

_LONGEST_RECONNECT_MS = 500
"""A drained client reconnects within this time: the drain has already spread the clients."""
_MISSED_POLLS = 5
"""Polls without a read after which the node is stale: on a busy machine one may be late, not five."""


class Node:
    """Serves connections from one log. Start it in a running event loop; stop it before the loop ends."""

    def __init__(  # noqa: PLR0913  # the parts that it joins
        self,
        channels: Channels,
        log: EventLog,
        wakeups: Wakeups,
        *,
        rows: RowsReader | None = None,
        is_fresh: Callable[[], bool] = lambda: True,
        edge: Callable[[], EdgeReport] | None = None,
        members: MemberStore | None = None,
        settings: Settings,
        authorizer: Authorizer | None,
        clock: Clock,
        tracer: Tracer | None = None,
    ) -> None:
        self._channels = channels
        self._schema = channels.schema_hash()
        self._log = log
        self.settings = settings
        """The limits in force."""
        self._stale_seconds = _MISSED_POLLS * settings.safety_poll_seconds
        self._clock = clock
        self._gateways: dict[SessionId, Gateway] = {}
        self._addresses = Tally(settings.connections_per_address)
        self._numbers = itertools.count(1)
        self._wakeups = wakeups
        self._log_is_fresh = is_fresh
        self._edge = edge
        self._started = clock.monotonic()
        self._draining = False
        self.supervisor = Supervisor()
        self.counts = Counts()
        self._isolation = Isolation(self.counts, self._gateways)
        self._fan_out = FanOut(self._gateways, self.supervisor)
        self._delivery = Delivery(
            self._fan_out,
            Telemetry(
                self.counts, clock, None if tracer is None else Tracing(tracer, channels, self._isolation)
            ),
            self._isolation,
            settings=settings,
            clock=clock,
            wakeups=wakeups,
            read_replay=self._read_replay,
            read_state=self._read_state,
            withdraw=self._withdraw,
        )
        answers = ReplayAnswers(self._delivery, self._gateways, self._isolation, self._reconnect)
        self._replays = Replays(log, self.supervisor, answers.take, settings, self._isolation)
        self._states = States(
            rows,
            channels,
            StateAnswers(self._delivery, self._gateways, self._isolation, self._reconnect),
            supervisor=self.supervisor,
            settings=settings,
            isolation=self._isolation,
            clock=clock,
        )
        self._presence = Presence(
            members,
            channels,
            supervisor=self.supervisor,
            settings=settings,
            isolation=self._isolation,
            clock=clock,
        )
        limit = Limit(settings.backlog_events, settings.backlog_bytes)
        self._relay = Relay(log, wakeups, self._delivery, limit=limit)
        self._sweep = OutboxSweep(
            settings.outbox_seconds, settings.rows_unread_bytes, clock, self.counts.loop_delay
        )
        self._context = self._gateway_context(authorizer)

    @property
    def accepting(self) -> bool:
        """Whether new connections are accepted: the log can be read, and the node is not full or draining."""
        return self._accepts()

    async def until_accepting(self) -> None:
        """Wait until the log has been read for the first time."""
        await self._delivery.began.wait()

    def has_place_for(self, address: str) -> bool:
        """Return whether one more client of an address is accepted."""
        return not self._addresses.is_full(limited_as(address))

    def start(self) -> None:
        """Start reading the log."""
        self.supervisor.keep("relay", partial(self._relay.run, partial(self.supervisor.recovered, "relay")))
        self.supervisor.keep("heartbeat", self._beat)
        self.supervisor.keep("outbox-sweep", self._sweep.run)
        if self._presence.is_declared:
            self.supervisor.keep("presence", self._presence.run)

    async def stop(self) -> None:
        """Stop reading the log; connections should have been drained before."""
        await self.supervisor.stop()

    def report(self) -> NodeReport:
        """Return the state and the counters of this node."""
        hub, waiting = self._delivery.hub, self._sweep.waiting_bytes()
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
            fan_out=IMPLEMENTATION,
            message_connections=sum([not gateway.is_direct for gateway in self._gateways.values()]),
            subscriptions=0 if hub is None else hub.subscriptions.count,
            subscribers={
                declaration.name: hub.subscriptions.live.family_count(declaration.prefix) if hub else 0
                for declaration in self._channels
            },
            members=len(self._presence),
            waiting_connections=len(waiting),
            outbox_bytes=sum(waiting),
            relay_lag_seconds=self._clock.monotonic() - max(self._delivery.read_at, self._started),
            errors=errors,
            tasks=tasks,
            counts=self.counts,
            edge=self._edge() if self._edge else None,
        )

    def connect(
        self,
        connection: Connection,
        channels: Sequence[str] = (),
        since: str | None = None,
        entrance: Entrance | None = None,
    ) -> Gateway:
        """Connect a client whose request was admitted.

        Raises:
            LogUnavailable: the node is not `accepting`; the client should try again.
        """
        hub = self._delivery.hub
        if hub is None or not self._accepts():
            raise LogUnavailable(self._refusal())
        address = limited_as(connection.address)
        if not self._addresses.enter(address):
            raise LogUnavailable("too many connections from this address; try again")
        number = next(self._numbers)
        authorizer = self._context.authorizer
        required = authorizer is not None and authorizer.required
        session = Session(self._channels, self.settings, token_required=required)
        gateway = Gateway(number, session, connection, self._context, address)
        self._gateways[number] = gateway
        self._fan_out.add(number, gateway)
        self.counts.connections += 1
        hub.subscriptions.connect(number)
        gateway.open(hub.cursor, self._schema, channels, since, entrance)
        return gateway

    def begin_drain(self, within: float | None = None) -> None:
        """Begin to `drain`; idempotent."""
        if not self._draining:
            self._draining = True
            self.supervisor.spawn(self.drain(within), "drain")

    async def drain(self, within: float | None = None) -> None:
        """Refuse new connections and drain the present ones one by one, evenly over the drain time.

        With `within`, the drain takes at most that long.
        """
        self._draining = True
        self._presence.freeze()
        gateways = list(self._gateways.values())
        began, seconds = self._clock.monotonic(), self.settings.drain_seconds
        seconds = seconds if within is None else min(seconds, within)
        for number, gateway in enumerate(gateways, 1):
            if gateway.number in self._gateways:
                gateway.drain(random.randint(0, _LONGEST_RECONNECT_MS))  # noqa: S311  # jitter, no secret
            wait = began + seconds * number / len(gateways) - self._clock.monotonic()
            await asyncio.sleep(max(0.0, wait) if self._gateways else 0)

    def broadcast_ephemeral(self, event: Ephemeral) -> None:
        """Deliver an ephemeral event to the connected clients."""
        # Rights end in the order of the log: a node that cannot read it does not know which have ended.
        if self._is_fresh():
            self._delivery.broadcast_ephemeral(event)

    # called by gateways (runtime.gateway.HubPort)

    def subscribe(
        self,
        session: SessionId,
        channels: tuple[str, ...],
        since: Cursor | None,
        ref: int | None,
        *,
        rows: bool,
        oldest: bool,
    ) -> None:
        self.counts.resumes += since is not None or oldest
        subscriptions = self._delivery.subscriptions
        self._delivery.perform(
            subscriptions.subscribe(session, channels, since, ref, rows=rows, oldest=oldest)
        )

    def reset_subscription(
        self, session: SessionId, channels: tuple[str, ...], reason: ResetReason, ref: int | None
    ) -> None:
        self.counts.resumes += 1
        self._delivery.perform(self._delivery.subscriptions.reset(session, channels, reason, ref))

    def unsubscribe(self, session: SessionId, channels: tuple[str, ...]) -> None:
        self._delivery.subscriptions.unsubscribe(session, channels)

    def settle(self, session: SessionId, xid: int) -> None:
        subscriptions, limit = self._delivery.subscriptions, self.settings.settles_per_connection
        if subscriptions.settling_count(session) >= limit and not subscriptions.has_settled(xid):
            excess = LimitExceeded(
                f"at most {limit} transactions to wait for; settle again when one has settled"
            )
            self._delivery.send(Bundle([frames.error(excess)]), (session,))
        else:
            self._delivery.perform(subscriptions.settle(session, xid))

    def hold(self, session: SessionId) -> bool:
        return self._delivery.subscriptions.hold(session)

    def release(self, session: SessionId, since: Cursor) -> bool:
        effects = self._delivery.subscriptions.release(session, since)
        self._delivery.perform(effects or ())
        return effects is not None

    def is_replaying(self, session: SessionId, channel: str) -> bool:
        return self._delivery.subscriptions.is_replaying(session, channel)

    def disconnect(self, session: SessionId) -> None:
        gateway = self._gateways.pop(session, None)
        self._fan_out.remove(session)
        self._presence.disconnect(session)
        if gateway is not None:
            self._addresses.leave(gateway.limited_as)
        with self._isolation.guard("connection", f"the end of {gateway or f'connection {session}'}"):
            self._delivery.subscriptions.disconnect(session)

    def _gateway_context(self, authorizer: Authorizer | None) -> GatewayContext:
        settings, conflation = self.settings, Conflation(self._channels) or None
        seconds, at_once = settings.guard_timeout_seconds, settings.guards_per_connection
        guards = Guards(self.supervisor, seconds=seconds, at_once=at_once)
        sending = SenderContext(settings, self._clock, self.counts, self._sweep, conflation)
        viewers: Present[Gateway] = Present(settings.connections_per_viewer)
        asks = isinstance(authorizer, RequestAuthorizer)
        return GatewayContext(
            self, self._presence, authorizer, asks, guards, viewers, self.supervisor, sending
        )

    def _withdraw(self, withdrawal: Withdrawal, cursor: Cursor) -> None:
        for gateway in self._context.viewers.of(withdrawal.viewer):
            gateway.withdraw(withdrawal, cursor)

    def _read_replay(self, replay: Replay) -> None:
        self._replays.add(replay)

    def _read_state(self, request: StateRequest) -> None:
        self._states.add(request)

    def _reconnect(self, session: SessionId) -> None:
        # Its subscription has no answer: the client reconnects and subscribes again when the log can be read.
        gateway = self._gateways.get(session)
        if gateway is not None:
            gateway.drain(int(1000 * self.settings.safety_poll_seconds))

    def _state(self) -> State:
        if self._draining:
            return "draining"
        if self._delivery.hub is None:
            return "starting"
        return "live" if self._is_fresh() else "stale"

    def _accepts(self) -> bool:
        is_full = len(self._gateways) >= self.settings.connections
        return self._delivery.hub is not None and not self._draining and not is_full and self._is_fresh()

    def _is_fresh(self) -> bool:
        age = self._clock.monotonic() - self._delivery.read_at
        return age < self._stale_seconds and self._log_is_fresh()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self.settings.heartbeat_seconds)
            self._states.forget_old()
            sessions = list(self._gateways)
            for first in range(0, len(sessions), SLICE):
                self._send_position(sessions[first : first + SLICE])
                await asyncio.sleep(0)

    def _send_position(self, sessions: Sequence[SessionId]) -> None:
        if self._is_fresh():
            self._delivery.heartbeat(sessions)
        for session in sessions:
            gateway = self._gateways.get(session)
            if gateway is not None:
                with self._isolation.guard("connection", gateway):
                    gateway.ping()

    def _refusal(self) -> str:
        if self._draining:
            return "this node is draining"
        full = len(self._gateways) >= self.settings.connections
        return "this node is full" if full else "the log cannot be read now"
