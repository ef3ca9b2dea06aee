"""EventLookup: what a database tells about our part in it, for whoever wants to know why nothing arrives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg

from flowcraft.adapters.postgres.connections import connect, is_pooled
from flowcraft.adapters.postgres.listen_connection import ListenConnection
from flowcraft.adapters.postgres.statements import statement
from flowcraft.errors import LogUnavailable

if TYPE_CHECKING:
    from flowcraft.adapters.postgres.connections import Plain

PROBE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class OpenTransaction:
    """A transaction that has an id and has not ended."""

    who: str
    pid: int | None
    state: str
    seconds: float


@dataclass(frozen=True, slots=True)
class LogFacts:
    """How much there is, by the database's own estimate, and the oldest transaction that is still there."""

    floor: int
    events: int
    bytes: int


@dataclass(frozen=True, slots=True)
class EventLookup:
    """What was found. `log` is None where there is none; `rings` is None where it could not be tried."""

    version: str
    standby: bool
    pooled: bool
    queue: float
    readers: int
    awake: bool
    rings: bool | None
    open: tuple[OpenTransaction, ...]
    log: LogFacts | None


@dataclass(frozen=True, slots=True)
class FoundEvent:
    """An event of the log, without its payload."""

    id: int
    xid: int
    channel: str
    bytes: int


async def examine(dsn: str, *, open_seconds: float) -> EventLookup:
    """Look at a database; transactions are told that have been open for so long.

    Raises:
        OSError: it cannot be reached.
        asyncpg.PostgresError: it does not let us look.
    """
    connection = await connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute(statement("pin"))
            row = await connection.fetchrow(statement("lookup"))
            assert row is not None
            log = await connection.fetchrow(statement("lookup_log")) if row["installed"] else None
            running = await connection.fetch(statement("lookup_open"), open_seconds)
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
        rings=None if row["standby"] else await _rings(dsn),
        open=tuple(OpenTransaction(**dict(one)) for one in running),
        log=None if log is None else LogFacts(log["floor"], log["events"] or 0, log["bytes"] or 0),
    )


async def find_events(dsn: str, *, id_: int | None, xid: int | None) -> tuple[list[FoundEvent], str | None]:
    """Return the events with this id or of this transaction, and what became of the transaction.

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


async def _rings(dsn: str) -> bool | None:
    try:
        async with ListenConnection.open(dsn, [], lambda: None, _nothing_to_hear) as line:
            return await line.proves_notifications(PROBE_SECONDS)
    except LogUnavailable:
        return None


def _nothing_to_hear(topic: str, payload: str) -> None:
    """Other notifications are not what is tried."""
