"""Ports: the interfaces between the runtime and its backends, and those offered to services."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar, runtime_checkable

from flowcraft.channels import Channels
from flowcraft.core.attendance import Change
from flowcraft.core.report import EdgeReport
from flowcraft.core.withdrawals import Withdrawal
from flowcraft.cursors import Cursor
from flowcraft.declared_channels import Channel
from flowcraft.records import Batch, Ephemeral, Limit, Record, TableRows
from flowcraft.settings import Settings
from flowcraft.viewers import Handshake, Viewer

E = TypeVar("E")


class RealtimeService(Protocol):
    """Broadcasts events. A service takes it in its constructor."""

    async def broadcast(self, channel: Channel[E], event: E, *, via: object | None = None) -> None:
        """Put an event on a channel.

        Without `via` the event is committed at once. With `via`, the caller's psycopg or asyncpg connection,
        SQLAlchemy connection or session, or connection of Django, the event is part of the caller's
        transaction: both commit or roll back together, and an error here is an error of that transaction.

        Raises:
            PayloadInvalid: the event does not fit its type; nothing was stored.
        """
        ...


@runtime_checkable
class SyncRealtimeService(Protocol):
    """A service that can also broadcast from synchronous code, in the caller's transaction."""

    def broadcast_sync(self, channel: Channel[E], event: E, *, via: object) -> None:
        """Broadcast an event in the transaction of a synchronous connection.

        Raises:
            PayloadInvalid: the event does not fit its type; nothing was stored.
            TypeError: `via` is of a type that this service does not know, or has no transaction open.
        """
        ...


@runtime_checkable
class RevokingService(Protocol):
    """A service that can also withdraw rights."""

    async def revoke(self, withdrawal: Withdrawal, *, via: object | None = None) -> None:
        """Write a withdrawal into the log; with `via`, in the caller's transaction.

        Raises:
            TypeError: `via` is of a type that this service does not know, or has no transaction open.
        """
        ...


class EventLog(Protocol):
    """The committed events, in the order in which they became visible. An empty log has a position too.

    `flowcraft.testing.contracts.EventLogContract` is its contract.
    """

    async def position(self) -> Batch:
        """Return the current position, as a batch without records.

        Raises:
            LogUnavailable: the log cannot be read now.
        """
        ...

    async def tail(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        """Return the records that became visible after a cursor, and the cursor after them.

        Transactions are returned whole: if there are more than `limit.events`, or more bytes of payload than
        `limit.bytes`, none are returned and `CursorExpired` is raised. Only the relay calls `tail`, one call
        at a time.

        Raises:
            CursorExpired: the log no longer reaches back that far, or holds more than `limit` since.
            CursorRewound: the cursor names commits that this database does not have.
            CursorOfOtherDatabase: the cursor was issued by another database.
            LogUnavailable: the log cannot be read now.
        """
        ...

    async def replay(self, after: Cursor, channels: Sequence[str], *, limit: Limit | None = None) -> Batch:
        """Return the records of some channels after a cursor, for one request.

        The cursor of the batch is the one that `tail` returns, whatever the channels. With more events than
        `limit.events`, or more bytes of payload than `limit.bytes`, `CursorExpired` is raised.

        Raises:
            CursorExpired: the log no longer reaches back that far, or holds more than `limit` since.
            CursorRewound: the cursor names commits that this database does not have.
            CursorOfOtherDatabase: the cursor was issued by another database.
            LogUnavailable: the log cannot be read now.
        """
        ...

    async def rewound(self, last: Cursor) -> Batch:
        """Return the position of a new generation, after `last` was found to be beyond this database.

        Several nodes may find this at once and begin one generation: a new one is begun only if `last` is of
        the present generation.

        Raises:
            LogUnavailable: the log cannot be read or written now.
        """
        ...


class RowsReader(Protocol):
    """Reads the rows of channels of rows. `flowcraft.testing.contracts.RowsContract` is its contract."""

    async def read(self, channel: str, limit: Limit) -> TableRows:
        """Return the rows of a channel by its full name, and the cursor of the one snapshot that has them.

        Raises:
            RowsLimitExceeded: there are more than `limit.events`, or more than `limit.bytes`.
            RowsUnreadable: they cannot be read; the reason is for operators.
            LogUnavailable: the database cannot be read now.
        """
        ...


class MemberStore(Protocol):
    """Stores the members that the nodes of all servers have, and writes what changes into the log.

    A member is stored once for each node through which it is present, and shown once: as it is on the node
    that wrote last. Records on its channel, and the rows that `RowsReader` reads there, are what is shown.
    A store has a number of members up to which they are listed. A channel with more has one reset, then
    records of counts, at most one in a second, and no rows but their number as skipped; with a fifth less
    than that number it has one reset more, and its list again.
    Its contract is `flowcraft.testing.contracts.MembersContract`.
    """

    async def beat(self, node: str) -> Mapping[str, int]:
        """Count the beat of a node up, and return the beats of all nodes; 1 is that of a new one.

        Raises:
            LogUnavailable: the database cannot be written now.
        """
        ...

    async def attend(self, node: str, changes: Sequence[Change], *, whole: bool) -> bool:
        """Write the members of a node, in one transaction; with `whole`, no others of it remain.

        A count that has changed less than a second after the last one is written with the first call later.

        Return False, and write nothing, if the node was removed or never had a beat.

        Raises:
            LogUnavailable: it is not known to be written.
        """
        ...

    async def forget(self, beats: Mapping[str, int]) -> Sequence[str]:
        """Remove nodes that have this beat still, with their members; return which were removed.

        Raises:
            LogUnavailable: it is not known to be written.
        """
        ...


class Wakeups(Protocol):
    """Hints to one reader that the log may have grown. A lost hint delays events and loses none.

    `flowcraft.testing.contracts.WakeupsContract` is its contract.
    """

    async def wait(self) -> None:
        """Return when the log may have grown since its last `tail`, at the latest after the safety interval.

        A transaction that commits between that `tail` and this call counts. Returning early is allowed.
        """
        ...

    def hurry(self) -> None:
        """Make the present `wait`, or else the next one, return at once."""
        ...

    @property
    def state(self) -> str:
        """The state of the hints for operators, in one word: `polling` means that there are none."""
        ...

    @property
    def trouble(self) -> str | None:
        """Why there are no hints, in a sentence for operators; None while there are."""
        ...


@dataclass(frozen=True, slots=True)
class BackendContext:
    """The arguments with which a node opens its backend; used in the node's event loop only."""

    channels: Channels
    """The declared channels, with the sources that a backend may listen to."""
    settings: Settings
    """The node's settings; a backend observes `safety_poll_seconds` and `retention_seconds`."""
    deliver: Callable[[Ephemeral], None]
    """Delivers an ephemeral event to the clients of this node; returns at once."""
    recovered: Callable[[str], None]
    """To be called with the name of an upkeep task after success: removes its last error from `/readyz`."""


@dataclass(frozen=True, slots=True)
class LogReader:
    """The log, the wakeups and the upkeep tasks of one node."""

    log: EventLog
    """The log. Only the relay calls its `tail`."""
    wakeups: Wakeups
    """The hints for the relay when to call `tail`."""
    rows: RowsReader | None = None
    """The rows of tables; None if the backend has no tables."""
    members: MemberStore | None = None
    """The members of channels; None if the backend has no presence. Its channels are read from `rows`."""
    upkeep: Mapping[str, Callable[[], Awaitable[None]]] = field(
        default_factory=dict[str, Callable[[], Awaitable[None]]]
    )
    """Tasks by name, run as long as the node: a task that ends or raises is reported and restarted."""
    is_fresh: Callable[[], bool] = lambda: True
    """Whether what the log returns is of now; a log that returns what was sent to it needs a proof."""
    edge: Callable[[], EdgeReport] | None = None
    """What has been received from relays, where the log is what they send."""


class Backend(Protocol):
    """The storage of an application's events: log, wakeups, service and upkeep in one value.

    The constructor connects to nothing. A backend is used by one node, in one event loop at a time; after
    `close` it can be opened again, in another loop too. Its contract is
    `flowcraft.testing.contracts.BackendContract`.
    """

    @property
    def service(self) -> RealtimeService:
        """The service that broadcasts into the log, also while no node has opened the backend."""
        ...

    def open(self, context: BackendContext) -> LogReader:
        """Return the reader for a node. Nothing connects yet: the upkeep tasks and the first read do.

        Raises:
            RealtimeError: the backend can never be read as it is configured.
        """
        ...

    async def close(self) -> None:
        """Close all connections of service and reader; idempotent. The upkeep tasks have ended before."""
        ...


class Authorizer(Protocol):
    """Authenticates viewers by their tokens."""

    @property
    def required(self) -> bool:
        """Whether every connection must send a token."""
        ...

    async def authenticate(self, token: str) -> Viewer:
        """Return the viewer that a token proves.

        Raises:
            TokenExpired: the token was valid before.
            TokenInvalid: the token is invalid for another reason.
        """
        ...


@runtime_checkable
class RequestAuthorizer(Authorizer, Protocol):
    """An `Authorizer` that also authenticates viewers by a cookie or a header of their request."""

    async def authenticate_request(self, request: Handshake) -> Viewer | None:
        """Return the viewer that a request proves; None if it proves none: then a token may follow.

        It is called before the first message, and cancelled after `auth_timeout_seconds`.

        Raises:
            TokenExpired: the session has ended; the client connects again.
            TokenInvalid: the request is refused for good.
        """
        ...


class Tracer(Protocol):
    """Propagates traces with events (W3C Trace Context), and reports deliveries to the tracing system."""

    def traceparent(self) -> str | None:
        """Return the present trace context if it is sampled, else None."""
        ...

    def delivered(self, record: Record, family: str, recipients: int, seconds: float) -> None:
        """Report that a record with a trace has been delivered: the span ends now and took `seconds`."""
        ...


class Clock(Protocol):
    """Time that only goes forward, in seconds; and the wall clock, for tokens."""

    def monotonic(self) -> float: ...

    def wall(self) -> float: ...
