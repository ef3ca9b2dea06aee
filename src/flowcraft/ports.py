"""Ports: what the core needs from the world, and what it offers to services."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias, TypeVar

from flowcraft.channels import Channel
from flowcraft.core.bundles import Framing
from flowcraft.core.report import Counts
from flowcraft.cursors import Cursor, Snapshot
from flowcraft.records import Batch, Limit, Record
from flowcraft.settings import Settings
from flowcraft.viewers import Viewer

E = TypeVar("E")

Ringing: TypeAlias = Literal["asleep", "standby", "awake", "letting go", "polling", "away"]
"""How a reader learns of commits: where it stands to the doorbell; or that it polls, or has no connection."""


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


class EventLog(Protocol):
    """The committed events, in the order in which they became visible. The truth."""

    async def position(self) -> Batch:
        """Return the current position, as a batch without records.

        Raises:
            LogUnavailable: it cannot be read now.
        """
        ...

    async def read(
        self, after: Cursor, *, channels: Sequence[str] | None = None, limit: Limit | None = None
    ) -> Batch:
        """Return everything that became visible after a cursor, whole transactions, and the cursor after it.

        With `channels` only their records, and the same cursor. A batch is never cut inside, so `limit`
        refuses: more than that is answered as an expired cursor is. Its bytes are looked at with `channels`.

        Raises:
            CursorExpired: the log no longer reaches back that far, or there is too much to replay.
            CursorRewound: the cursor names commits that this database does not have.
            CursorOfOtherDatabase: the cursor was issued elsewhere.
            LogUnavailable: it cannot be read now.
        """
        ...

    async def rewound(self, last: Cursor) -> Batch:
        """Return the position of a new generation, after `last` was found to be beyond this database.

        The generation is begun once, however many nodes find out: only where `last` is of the present one.
        """
        ...


class Wakeups(Protocol):
    """Hints that the log may have grown. Only a hint: the log is the truth."""

    async def wait(self, seen: Snapshot, *, records: int) -> None:
        """Return when it is worth reading again, or earlier; `seen` and `records` describe the last read."""
        ...

    @property
    def trouble(self) -> str | None:
        """What keeps the hints from coming, if anything does; the log is then read less promptly."""
        ...

    @property
    def ringing(self) -> Ringing:
        """How the hints come now."""
        ...

    def hurry(self) -> None:
        """Make the present or next `wait` return at once."""
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
