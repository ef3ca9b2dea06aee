"""EventLookup: the state of a database, and where one event is, for `flowcraft doctor`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg

from flowcraft.adapters.postgres.connections import connect, is_pooled
from flowcraft.adapters.postgres.held_locks import HeldLock, held_locks
from flowcraft.adapters.postgres.listen_connection import ListenConnection
from flowcraft.adapters.postgres.statements import differences_of, migrations, statement
from flowcraft.errors import LogUnavailable

if TYPE_CHECKING:
    from flowcraft.adapters.postgres.connections import Plain

SKIPPED_SECONDS = 3.0
_AGAIN_SECONDS = 0.2
PROBE_SECONDS = 2.0  # a notification arrives within milliseconds


@dataclass(frozen=True, slots=True)
class OpenTransaction:
    """A transaction that has an id and has not ended."""

    who: str
    pid: int | None
    state: str
    seconds: float


@dataclass(frozen=True, slots=True)
class LogFacts:
    """The size of the log, by the database's own estimate, and the oldest transaction in it."""

    floor: int
    events: int
    bytes: int


@dataclass(frozen=True, slots=True)
class SkippedEvents:
    """Events of one channel that were skipped for one reason, as JSON; `last` is the id of the latest."""

    channel: str
    reason: str
    events: int
    last: int


@dataclass(frozen=True, slots=True)
class EventLookup:
    """What was found. `log` is None where there is none; `notifies` is None where it could not be tried.

    `missing` are migrations that were not applied, `differing` those that another version applied.
    """

    version: str
    standby: bool
    pooled: bool
    queue: float
    readers: int
    awake: bool
    notifies: bool | None
    open: tuple[OpenTransaction, ...]
    log: LogFacts | None
    missing: tuple[str, ...] = ()
    differing: tuple[str, ...] = ()
    skipped: tuple[SkippedEvents, ...] = ()
    held: tuple[HeldLock, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundEvent:
    """An event of the log, without its payload."""

    id: int
    xid: int
    channel: str
    bytes: int


async def examine(dsn: str, *, open_seconds: float) -> EventLookup:
    """Examine a database; list the transactions that have been open for `open_seconds`.

    Raises:
        OSError: it cannot be reached.
        asyncpg.PostgresError: it refuses the connection or a statement.
    """
    connection = await connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute(statement("pin"))
            row = await connection.fetchrow(statement("lookup"))
            assert row is not None
            log = await connection.fetchrow(statement("lookup_log")) if row["installed"] else None
            applied = await connection.fetch(statement("applied")) if row["readable"] else None
            running = await connection.fetch(statement("lookup_open"), open_seconds)
            skipped = await _skipped(connection) if log is not None else ()
            held = await held_locks(connection)
            if held:
                # A writer of any role tests a lock for microseconds.
                await asyncio.sleep(_AGAIN_SECONDS)
                held = tuple(one for one in await held_locks(connection) if one in held)
        pooled = await is_pooled(connection)
    finally:
        await connection.close()
    return EventLookup(
        version=row["version"],
        standby=row["standby"],
        pooled=pooled,
        queue=row["queue"],
        readers=row["readers"],
        awake=row["awake"],
        notifies=None if row["standby"] else await _notifies(dsn),
        open=tuple(OpenTransaction(**dict(one)) for one in running),
        log=None if log is None else LogFacts(log["floor"], log["events"] or 0, log["bytes"] or 0),
        missing=() if applied is None else _missing(applied),
        differing=() if applied is None else differences_of(applied),
        skipped=tuple(SkippedEvents(**dict(one)) for one in skipped),
        held=held,
    )


async def _skipped(connection: Plain) -> Sequence[asyncpg.Record]:
    """Return what was skipped; nothing if the log is too large to be read for it, or may not be read."""
    try:
        async with connection.transaction():
            await connection.execute(f"set local statement_timeout = '{SKIPPED_SECONDS:.0f}s'")
            return await connection.fetch(statement("lookup_skipped"))
    except (asyncpg.QueryCanceledError, asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedColumnError):
        return ()


def _missing(applied: Sequence[asyncpg.Record]) -> tuple[str, ...]:
    present = {row["version"] for row in applied}
    return tuple(one.name for one in migrations().values() if one.version not in present)


async def find_events(dsn: str, *, id_: int | None, xid: int | None) -> tuple[list[FoundEvent], str | None]:
    """Return the events with this id or of this transaction, and the outcome of the transaction.

    That is 'committed', 'aborted' or 'in progress', and None if it is too old to be known, or not named.
    """
    connection = await connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute(statement("pin"))
            rows = await connection.fetch(statement("lookup_events"), id_, None if xid is None else str(xid))
        return [FoundEvent(**dict(row)) for row in rows], await _outcome(connection, xid)
    finally:
        await connection.close()


async def new_transaction(dsn: str) -> int:
    """Commit a transaction without events; return its id."""
    connection = await connect(dsn)
    try:
        return int(await connection.fetchval("select pg_current_xact_id()::text"))
    finally:
        await connection.close()


async def _outcome(connection: Plain, xid: int | None) -> str | None:
    if xid is None:
        return None
    try:
        status: str | None = await connection.fetchval("select pg_xact_status($1::text::xid8)", str(xid))
    except asyncpg.InvalidParameterValueError:  # it is in the future
        return "not begun"
    return status


async def _notifies(dsn: str) -> bool | None:
    try:
        async with ListenConnection.open(dsn, [], lambda _: None, _ignore) as connection:
            return await connection.proves_notifications(PROBE_SECONDS)
    except LogUnavailable:
        return None


def _ignore(topic: str, payload: str) -> None:
    """Ignore other notifications."""
