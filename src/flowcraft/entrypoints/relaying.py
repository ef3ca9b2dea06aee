"""Relaying: read the log of one database and publish it for edges; one of several relays leads."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, final

import msgspec

from flowcraft.adapters.nats.address import LogAddress
from flowcraft.adapters.nats.answers import Answers
from flowcraft.adapters.nats.connection import Arrival, NatsConnection
from flowcraft.adapters.nats.messages import Beat, MessageInvalid, Subjects, decode
from flowcraft.adapters.nats.publisher import BEAT_SECONDS, Publisher
from flowcraft.adapters.nats.stream import LiveStream
from flowcraft.adapters.postgres.backend import PostgresBackend
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.adapters.postgres.service import PostgresRealtimeService
from flowcraft.channels import Channels
from flowcraft.core.withdrawals import Withdrawal
from flowcraft.cursors import Lineage
from flowcraft.entrypoints.serve import run, stop_signal
from flowcraft.errors import LogUnavailable
from flowcraft.ports import Backend, BackendContext, EventLog, LogReader
from flowcraft.records import Batch, Ephemeral, Limit
from flowcraft.runtime.relay import Relay
from flowcraft.runtime.supervisor import Supervisor
from flowcraft.settings import Settings

logger = logging.getLogger(__name__)

FIRST_SECONDS = 1.1
"""A relay that starts listens for two beats before it leads."""
TAKEOVER_SECONDS = 2.5
"""A relay that stands by leads after so long without a beat."""

RelayState = Literal["starting", "standing by", "leading"]


@final
class RelayServer:
    """One relay: it stands by while another leads, and leads otherwise.

    Who leads is a matter of economy: two that lead at once publish everything twice, and every edge takes it
    once. Of two, the one with the newer lineage goes on, else the one with the smaller name.
    """

    def __init__(
        self,
        channels: Channels,
        backend: Backend,
        address: LogAddress,
        settings: Settings | None = None,
        *,
        first_seconds: float = FIRST_SECONDS,
    ) -> None:
        self._first_seconds = first_seconds
        self._channels = channels
        self._backend = backend
        self._address = address
        given = settings or Settings()
        safety = min(BEAT_SECONDS, given.safety_poll_seconds)
        self._settings = msgspec.structs.replace(given, safety_poll_seconds=safety)
        self.name = secrets.token_hex(8)
        self.state: RelayState = "starting"
        self.led = asyncio.Event()
        """Set while it leads."""
        self.publisher: Publisher | None = None
        self._answers: Answers | None = None

    async def run(self) -> None:
        """Stand by and lead in turn.

        Raises:
            LogUnavailable: NATS or the database cannot be reached, or no longer.
            NatsMissing: nats-py is not installed.
        """
        while True:
            async with NatsConnection.open(self._address, "flowcraft relay") as connection:
                await self._serve(connection)
                if connection.lost.is_set():
                    raise LogUnavailable(connection.trouble)

    async def _serve(self, connection: NatsConnection) -> None:
        """Stand by, then lead for one term."""
        try:
            lineage = (await self._find_position()).cursor.lineage
            subjects = Subjects.of(lineage)
            others = OtherRelays(self.name, lineage)
            await connection.subscribe(subjects.beat, others.take)
            await self._stand_by(connection, others, subjects)
            if not connection.lost.is_set():
                await self._lead(connection, others, subjects)
        finally:
            self.state, self.publisher, self._answers = "starting", None, None
            self.led.clear()
            await self._backend.close()

    async def _find_position(self) -> Batch:
        reader = self._backend.open(BackendContext(self._channels, self._settings, _drop, _ignore))
        try:
            return await reader.log.position()
        finally:
            await self._backend.close()

    async def _stand_by(self, connection: NatsConnection, others: OtherRelays, subjects: Subjects) -> None:
        self.state = "standing by"
        patience = self._first_seconds
        while await others.beats_within(patience, connection.lost):
            if patience != TAKEOVER_SECONDS:
                logger.info("another relay publishes %s; standing by", subjects)
            patience = TAKEOVER_SECONDS

    async def _lead(self, connection: NatsConnection, others: OtherRelays, subjects: Subjects) -> None:
        supervisor = Supervisor()
        context = BackendContext(self._channels, self._settings, self._deliver, supervisor.recovered)
        reader = self._backend.open(context)
        start = await reader.log.position()
        options, stream = self._address.stream, None
        if options is not None:
            stream = LiveStream(connection, subjects, options)
            await stream.open()
        publisher = self.publisher = Publisher(self.name, connection, subjects, start, stream)
        own = PostgresLog(self._backend.dsn) if isinstance(self._backend, PostgresBackend) else None
        term = _Term(self._channels, self._backend, reader, own or reader.log, publisher, supervisor)
        try:
            self._answers = await term.begin(connection, subjects, Limit(*_backlog(self._settings)))
            self.state = "leading"
            self.led.set()
            others.begin(lambda: publisher.lineage)
            logger.info(
                "publishing %s at %s; edges: FLOWCRAFT_LOG_URL=%s/%s%s",
                *(subjects, self._address, self._address, subjects),
                "" if options is None else f"?stream={options.name}",
            )
            await _first(connection.lost, others.superior, publisher.moved)
        finally:
            await supervisor.stop()
            with suppress(LogUnavailable):
                await publisher.leave()
            if own is not None:
                await own.close()
        if others.superior.is_set():
            logger.info("another relay publishes %s; standing by", subjects)

    def report(self) -> RelayReport:
        """Return the state and the counters of this relay."""
        publisher, answers = self.publisher, self._answers
        behind = None if publisher is None else publisher.seconds_since_read()
        return RelayReport(
            relay=self.name,
            state=self.state,
            ready=self.state == "standing by" or (behind is not None and behind < TAKEOVER_SECONDS),
            edges=0 if publisher is None else publisher.edges,
            seconds_since_read=behind,
            published=0 if publisher is None else publisher.published,
            answered={} if answers is None else dict(answers.answered),
            stream=None if publisher is None or publisher.stream is None else publisher.stream.is_stored,
        )

    def _deliver(self, event: Ephemeral) -> None:
        if self.publisher is not None:
            self.publisher.send_ephemeral(event)


class RelayReport(msgspec.Struct, frozen=True, kw_only=True):
    """One relay at one moment. It is `ready` while it leads and reads the log, or stands by."""

    relay: str
    state: RelayState
    ready: bool
    edges: int
    """Edges that have sent a nonce lately."""
    seconds_since_read: float | None
    """The time since the last read of the log; null while it does not lead."""
    published: int
    """Batches that were published in this term."""
    answered: dict[str, int]
    """Questions of edges that were answered in this term, by kind; a `tail` is asked for after a gap."""
    stream: bool | None = None
    """Whether the stream keeps what is published; null without a stream, and while it does not lead."""


@final
class OtherRelays:
    """What is known of the other relays of one database, by their beats."""

    def __init__(self, name: str, lineage: Lineage) -> None:
        self._name = name
        self._lineage: Callable[[], Lineage] = lambda: lineage
        self._beats = asyncio.Event()
        self._left = asyncio.Event()
        self._leads = False
        self.superior = asyncio.Event()
        """Set when another relay, which should go on, leads beside this one."""

    def take(self, arrival: Arrival) -> None:
        """Take a beat."""
        try:
            beat = decode(arrival.data, Beat)
            lineage = beat.link.batch.cursor.lineage
        except (MessageInvalid, ValueError):
            return
        mine = self._lineage()
        if beat.relay == self._name or lineage.rank < mine.rank:
            return
        if beat.leaving:
            self._left.set()
            return
        self._beats.set()
        is_newer = lineage.rank > mine.rank
        if self._leads and (is_newer or beat.relay < self._name):
            self.superior.set()

    async def beats_within(self, seconds: float, lost: asyncio.Event) -> bool:
        """Wait for the next beat of another relay; return False if none arrives in time, or it leaves."""
        self._beats.clear()
        self._left.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await _first(self._beats, self._left, lost)
        return self._beats.is_set() and not lost.is_set()

    def begin(self, lineage: Callable[[], Lineage]) -> None:
        """Note that this relay leads."""
        self._lineage, self._leads = lineage, True


@dataclass(frozen=True, slots=True)
class _Term:
    """The tasks of a relay while it leads."""

    channels: Channels
    backend: Backend
    reader: LogReader
    log: EventLog
    """For edges that ask."""
    publisher: Publisher
    supervisor: Supervisor

    async def begin(self, connection: NatsConnection, subjects: Subjects, limit: Limit) -> Answers:
        """Answer edges, read the log and publish it."""
        answers = Answers(
            self.publisher.relay,
            connection,
            self.reader,
            Broadcasting(self.channels, self.backend),
            log=self.log,
            lineage=lambda: self.publisher.lineage,
            spawn=self.supervisor.spawn,
        )
        await answers.listen(subjects.ask)
        await connection.subscribe(subjects.wake, self.publisher.take_wake)
        relay = Relay(self.reader.log, self.reader.wakeups, self.publisher, limit=limit)
        self.supervisor.keep("relay", relay.run)
        for name, task in self.reader.upkeep.items():
            self.supervisor.keep(name, task)
        if self.publisher.stream is not None:
            self.supervisor.keep("stream", self.publisher.stream.watch)
        return answers


@dataclass(frozen=True, slots=True)
class Broadcasting:
    """Broadcasts for edges: an event is checked against the declaration of this relay's version."""

    channels: Channels
    backend: Backend

    async def broadcast_encoded(self, channel: str, payload: str) -> None:
        """Broadcast an event in a transaction of its own.

        Raises:
            PayloadInvalid: the event does not fit its type here.
            ChannelUnknown: this relay does not declare the channel.
        """
        declaration, _ = self.channels.resolve(channel)
        checked = declaration.payload.check(payload)
        await self._service.broadcast_payload(channel, checked, durable=declaration.durable)

    async def revoke(self, withdrawal: Withdrawal) -> None:
        """Write a withdrawal into the log."""
        await self._service.revoke(withdrawal)

    @property
    def _service(self) -> PostgresRealtimeService:
        service = self.backend.service
        if not isinstance(service, PostgresRealtimeService):
            raise TypeError(f"{type(self.backend).__name__} cannot broadcast for edges")
        return service


async def _first(*events: asyncio.Event) -> None:
    """Wait until one of some events is set."""
    tasks = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def _backlog(settings: Settings) -> tuple[int, int]:
    return settings.backlog_events, settings.backlog_bytes


def _drop(_: Ephemeral) -> None:
    """Drop an event outside the log: this relay does not lead."""


def _ignore(_: str) -> None:
    """Ignore that a task works again: none runs."""


def serve_relay(
    channels: Channels,
    backend: Backend,
    address: LogAddress,
    settings: Settings,
    pages: tuple[str, int] | None = None,
) -> None:
    """Relay until SIGTERM or SIGINT; with `pages`, a host and a port, answer probes there.

    Raises:
        OSError: the port is taken, or may not be used.
    """
    run(_serve_relay(RelayServer(channels, backend, address, settings), pages))


async def _serve_relay(relay: RelayServer, pages: tuple[str, int] | None) -> None:
    from flowcraft.entrypoints.relay_pages import RelayPages

    stopped, supervisor = stop_signal(), Supervisor()
    server = None if pages is None else await RelayPages(relay).start(*pages)
    supervisor.keep("relay", relay.run)
    try:
        await stopped.wait()
    finally:
        await supervisor.stop()
        if server is not None:
            server.close()
