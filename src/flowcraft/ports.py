"""Ports: what the core needs from the world, and what it offers to services."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar, runtime_checkable

from flowcraft.channels import Channel, Channels
from flowcraft.core.bundles import Framing
from flowcraft.core.report import Counts
from flowcraft.cursors import Cursor
from flowcraft.records import Batch, Ephemeral, Limit, Record
from flowcraft.settings import Settings
from flowcraft.viewers import Viewer

E = TypeVar("E")


class RealtimeService(Protocol):
    """What a service needs to broadcast events: take it in the constructor."""

    async def broadcast(self, channel: Channel[E], event: E, *, via: object | None = None) -> None:
        """Put an event on a channel.

        Alone it commits by itself. With `via`, the caller's psycopg or asyncpg connection, SQLAlchemy
        connection or session, or connection of Django, it is part of the caller's transaction: it commits
        and rolls back with it, and an error here is an error of that transaction.

        Raises:
            PayloadInvalid: the event does not fit its type; nothing was stored.
        """
        ...


@runtime_checkable
class SyncRealtimeService(Protocol):
    """A service that can also broadcast from code that cannot await, inside the caller's transaction."""

    def broadcast_sync(self, channel: Channel[E], event: E, *, via: object) -> None:
        """Broadcast an event in the transaction of a synchronous connection.

        Raises:
            PayloadInvalid: the event does not fit its type; nothing was stored.
            TypeError: `via` is of a type that this service does not know, or has no transaction open.
        """
        ...


class EventLog(Protocol):
    """The committed events, in the order in which they became visible. The truth.

    `flowcraft.testing.contracts.EventLogContract` is its contract. An empty log has a position too.
    """

    async def position(self) -> Batch:
        """Return the current position, as a batch without records.

        Raises:
            LogUnavailable: it cannot be read now.
        """
        ...

    async def tail(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        """Return the records that became visible after a cursor, and the cursor after them.

        Transactions are returned whole, so `limit.events` refuses: more is `CursorExpired`. `limit.bytes`
        does not apply. Only the relay tails a log, one call at a time.

        Raises:
            CursorExpired: the log no longer reaches back that far, or holds more than `limit` since.
            CursorRewound: the cursor names commits that this database does not have.
            CursorOfOtherDatabase: the cursor was issued by another database.
            LogUnavailable: the log cannot be read now.
        """
        ...

    async def replay(self, after: Cursor, channels: Sequence[str], *, limit: Limit | None = None) -> Batch:
        """Return the records of some channels after a cursor, for one request.

        The cursor of the batch is the one that `tail` returns, whatever the channels. `limit` refuses
        by events and by the bytes of the payloads: more is `CursorExpired`.

        Raises:
            CursorExpired: the log no longer reaches back that far, or holds more than `limit` since.
            CursorRewound: the cursor names commits that this database does not have.
            CursorOfOtherDatabase: the cursor was issued by another database.
            LogUnavailable: the log cannot be read now.
        """
        ...

    async def rewound(self, last: Cursor) -> Batch:
        """Return the position of a new generation, after `last` was found to be beyond this database.

        The generation is begun once, however many nodes find out: only where `last` is of the present one.

        Raises:
            LogUnavailable: the log cannot be read or written now.
        """
        ...


class Wakeups(Protocol):
    """Hints to one reader that the log may have grown. A lost hint delays an event and loses none.

    `flowcraft.testing.contracts.WakeupsContract` is its contract.
    """

    async def wait(self) -> None:
        """Return when the log may have grown since its last `tail`, at the latest after the safety interval.

        A transaction that commits between that `tail` and this call counts. Returning early is allowed.
        """
        ...

    def hurry(self) -> None:
        """Make the present or next `wait` return at once."""
        ...

    @property
    def state(self) -> str:
        """How the hints come, in a word for operators: `polling` means that none come."""
        ...

    @property
    def trouble(self) -> str | None:
        """What keeps the hints from coming, in a sentence for operators; None while they come."""
        ...


@dataclass(frozen=True, slots=True)
class BackendContext:
    """What a node gives the backend that it opens. All of it belongs to the node's event loop."""

    channels: Channels
    """The declared channels, with the sources that a backend may listen to."""
    settings: Settings
    """The node's settings: `safety_poll_seconds` and `retention_seconds` are a backend's to keep."""
    deliver: Callable[[Ephemeral], None]
    """Call it with each event of a channel outside the log; it returns at once."""
    recovered: Callable[[str], None]
    """Call it with the name of an upkeep task when its work succeeds: its last error leaves `/readyz`."""


@dataclass(frozen=True, slots=True)
class LogReader:
    """What one node reads a log with."""

    log: EventLog
    """The log. Its `tail` is the relay's alone."""
    wakeups: Wakeups
    """The hints when to call `tail`."""
    upkeep: Mapping[str, Callable[[], Awaitable[None]]] = field(
        default_factory=dict[str, Callable[[], Awaitable[None]]]
    )
    """Tasks by name, kept for as long as the node runs: one that ends or raises is reported and restarted."""


class Backend(Protocol):
    """Where the events of an application are kept: its log, wakeups, service and upkeep in one value.

    Making one connects to nothing. It is used by one node, in one event loop at a time; after `close` it can
    be opened again, in another loop too. `flowcraft.testing.contracts.BackendContract` is its contract.
    """

    @property
    def service(self) -> RealtimeService:
        """Broadcasts into the log, also while no node has opened the backend; it opens what it needs."""
        ...

    def open(self, context: BackendContext) -> LogReader:
        """Return what a node reads with. It connects to nothing yet: the upkeep and the first read do.

        Raises:
            RealtimeError: the backend can never be read as it is configured.
        """
        ...

    async def close(self) -> None:
        """Close every connection of the service and the reader; idempotent. The upkeep has ended before."""
        ...


class Connection(Protocol):
    """One client's socket, as a carrier has it: it takes bytes, signals when it can take more, and closes.

    A connection keeps at most one chunk; the gateway's outbox keeps the rest. Nothing here blocks, or raises
    for a client that is gone: `GatewayPort.closed` reports that.
    """

    @property
    def framing(self) -> Framing:
        """How messages become the bytes that `try_send` takes."""
        ...

    @property
    def address(self) -> str:
        """The client's address, for log lines: `host:port`, or empty if it is not known."""
        ...

    def try_send(self, data: bytes) -> int:
        """Send whole messages; return how many bytes wait in the carrier now, 0 if all have left.

        After a result above 0 it must not be called again before `GatewayPort.writable`.
        """
        ...

    @property
    def is_direct(self) -> bool:
        """Whether bytes go to the socket itself, not through an ASGI server."""
        ...

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait in the carrier."""
        ...

    def ping(self) -> None:
        """Ask the client for a sign of life; if none comes in time, `GatewayPort.unresponsive` is called."""
        ...

    def close(self, code: int, reason: str, rest: bytes = b"") -> None:
        """Close after what was sent and after `rest`, within a second or so; idempotent."""
        ...


class GatewayPort(Protocol):
    """What a carrier reports of a connection that was accepted."""

    @property
    def message_bytes(self) -> int:
        """The longest message that the client may send now: less before a required token than after it."""
        ...

    def received(self, message: str) -> None:
        """The client sent a message."""
        ...

    def writable(self) -> None:
        """Nothing waits in the carrier any more."""
        ...

    def unresponsive(self) -> None:
        """The client did not answer a ping in time."""
        ...

    def closed(self) -> None:
        """The connection is gone; idempotent."""
        ...


class NodePort(Protocol):
    """Where carriers bring new connections."""

    @property
    def settings(self) -> Settings:
        """The limits in force."""
        ...

    @property
    def accepting(self) -> bool:
        """Whether new connections are taken: the log is being read, there is room, no drain has begun."""
        ...

    @property
    def counts(self) -> Counts:
        """Where a carrier counts what it refused."""
        ...

    def begin_drain(self, within: float | None = None) -> None:
        """Send the clients away, as the server around the carrier ends; idempotent.

        It takes `drain_seconds`, or as little as `within`.
        """
        ...

    def connect(
        self, connection: Connection, channels: Sequence[str] = (), since: str | None = None
    ) -> GatewayPort:
        """Take a connection whose handshake is done, with the subscriptions of its URL.

        Raises:
            LogUnavailable: not `accepting`; the client should come back.
        """
        ...


class Authorizer(Protocol):
    """Proves who a viewer is."""

    @property
    def required(self) -> bool:
        """Whether a connection without a token is refused altogether."""
        ...

    async def authenticate(self, token: str) -> Viewer:
        """Return the viewer that a token proves.

        Raises:
            TokenExpired: it was good once.
            TokenInvalid: anything else that is wrong with it.
        """
        ...


class Tracer(Protocol):
    """Carries a trace along with events (W3C Trace Context), and reports deliveries to the tracing system."""

    def traceparent(self) -> str | None:
        """Return the context of what is being done now, if it is recorded."""
        ...

    def delivered(self, record: Record, family: str, recipients: int, seconds: float) -> None:
        """Report that a record with a trace has been sent, in so many seconds that end now."""
        ...


class Clock(Protocol):
    """Time that only goes forward, in seconds; and the wall clock, for tokens."""

    def monotonic(self) -> float: ...

    def wall(self) -> float: ...
