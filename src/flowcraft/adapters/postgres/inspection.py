"""Inspection: the log and the triggers of declared sources in a database. It changes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import asyncpg
import msgspec

from flowcraft.adapters.postgres.connections import open_session, pinned
from flowcraft.adapters.postgres.listen_connection import ANSWER_SECONDS, ListenConnection
from flowcraft.adapters.postgres.pool import unavailable
from flowcraft.adapters.postgres.statements import (
    DOES_NOT_FIT,
    differences_of,
    migrations,
    statement,
)
from flowcraft.adapters.postgres.triggers import TableSource, table_sources
from flowcraft.channels import Channels
from flowcraft.errors import LogUnavailable

if TYPE_CHECKING:
    from flowcraft.adapters.postgres.connections import Plain

_PROBE_SECONDS = 2.0  # a notification arrives within milliseconds
_GUARD_FITS = "select pg_temp.flowcraft_guard($1::text::jsonb, pg_temp.flowcraft_table($1::text::jsonb))"
_LONGEST_PREFIX = 48  # of 63 bytes of a name; the digest and the suffix of the operation take the rest


class Column(msgspec.Struct, frozen=True):
    """A column: its type as declared, the type below a domain, that type's category, and its elements.

    `labels` are the texts to which an enum or a constraint limits it; `checked`: a constraint is on it.
    """

    name: str
    type: str
    base: str
    category: str
    nullable: bool
    element: str | None = None
    labels: tuple[str, ...] = ()
    checked: bool = False


class SourceFacts(msgspec.Struct, frozen=True):
    """One declared source and its triggers.

    `name` is its table with the schema; `refused` is why the declared name does not mean one table, or a
    guard cannot depend on it; `same` is whether the triggers do what is declared, None if that is not known.
    `wanted` are the operations that need a trigger, `uncovered` the partitions and children that lack one;
    `parent` is of what the table is a part, `without_key` why its rows are not found again by a key,
    `without_index` the column by which the rows of a channel are looked up, if no index begins with it.
    """

    source: TableSource
    exists: bool
    name: str = ""
    is_table: bool = False
    refused: str | None = None
    columns: tuple[Column, ...] = ()
    installed: bool | None = None
    same: bool | None = None
    operations: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()
    uncovered: tuple[str, ...] = ()
    parent: str | None = None
    without_key: str | None = None
    without_index: str | None = None


class Leftover(msgspec.Struct, frozen=True):
    """A trigger function that no declared source has, and the tables that call it."""

    function: str
    tables: str


class DatabaseFacts(msgspec.Struct, frozen=True):
    """What was found; only `trouble` where the database could not be inspected.

    `listeners` are up to 6 roles that may connect, and so LISTEN, though they may not read the log.
    """

    trouble: str | None = None
    version: tuple[int, int] = (0, 0)
    role: str = ""
    standby: bool = False
    notifies: bool | None = None
    installed: bool = False
    usable: bool = False
    executable: frozenset[str] = frozenset()
    unpinned: tuple[str, ...] = ()
    listeners: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    newer: tuple[str, ...] = ()
    differing: tuple[str, ...] = ()
    position: str | None = None
    sources: tuple[SourceFacts, ...] = ()
    leftovers: tuple[Leftover, ...] = ()
    not_compared: tuple[str, ...] = ()


async def inspect(dsn: str, channels: Channels) -> DatabaseFacts:
    """Inspect a database. `trouble` is why that was not possible."""
    try:
        with unavailable():
            async with _looking(dsn) as connection:
                found = await _inspect(connection, channels)
    except LogUnavailable as error:
        return DatabaseFacts(trouble=str(error))
    except asyncpg.PostgresError as error:
        return DatabaseFacts(trouble=f"the database cannot be inspected: {error}")
    return msgspec.structs.replace(found, notifies=None if found.standby else await _notifies(dsn))


@asynccontextmanager
async def _looking(dsn: str) -> AsyncIterator[Plain]:
    """Lend a connection in a transaction: one session, even behind a pooler."""
    connection = await open_session(dsn, timeout=ANSWER_SECONDS)
    try:
        async with pinned(connection, but=("search_path",), commit=False):
            await connection.execute(statement("pin"))
            yield connection
    finally:
        connection.terminate()


async def _inspect(connection: Plain, channels: Channels) -> DatabaseFacts:
    version = connection.get_server_version()
    found = DatabaseFacts(version=(version.major, version.minor))
    if version.major < 14:
        return found
    row = await connection.fetchrow(statement("inspect_server"))
    assert row is not None
    found = msgspec.structs.replace(
        found,
        role=row["role"],
        standby=row["standby"],
        installed=row["installed"],
        usable=row["usable"],
        executable=frozenset(row["executable"]),
        unpinned=tuple(row["unpinned"]),
        listeners=tuple(row["listeners"]),
    )
    if found.standby:
        return found
    strangers = await connection.fetch(statement("strangers"))
    if row["superuser"] or not _is_strange(strangers):
        found = _with_strangers(found, strangers)
        if strangers:
            return found  # no object of another role is read or called
    if found.installed:
        found = await _with_migrations(connection, found, readable=row["usable"] and row["readable"])
    return await _with_sources(connection, found, table_sources(channels))


def _is_strange(strangers: Sequence[asyncpg.Record]) -> bool:
    """Return whether the schema belongs to a role of which this one, which does not migrate, is no member."""
    return any(row["place"] == 1 for row in strangers)


def _described(stranger: asyncpg.Record) -> str:
    return (
        f"{stranger['object']} is of role {stranger['owner']}, whose code could run with the rights of "
        f"the role that migrates; run `{stranger['remedy']}`"
    )


def _with_strangers(found: DatabaseFacts, strangers: Sequence[asyncpg.Record]) -> DatabaseFacts:
    if not _is_strange(strangers):
        return msgspec.structs.replace(found, strangers=tuple(map(_described, strangers)))
    owner = next(row["owner"] for row in strangers if row["place"] == 1)
    not_compared = f"the schema flowcraft is of role {owner}, whose code superuser {found.role} does not run"
    return msgspec.structs.replace(found, not_compared=(not_compared,))


async def _with_migrations(connection: Plain, found: DatabaseFacts, *, readable: bool) -> DatabaseFacts:
    position = await _position(connection) if "position" in found.executable and found.usable else None
    if not readable:
        reason = f"role {found.role} may not read flowcraft.migration: whether it is up to date is not known"
        return msgspec.structs.replace(found, position=position, not_compared=(reason,))
    rows = await connection.fetch(statement("applied"))
    known, present = migrations(), {row["version"]: str(row["name"]) for row in rows}
    return msgspec.structs.replace(
        found,
        position=position,
        missing=tuple(one.name for one in known.values() if one.version not in present),
        newer=tuple(name for number, name in present.items() if number not in known),
        differing=differences_of(rows),
    )


async def _position(connection: Plain) -> str | None:
    """Return why the log cannot be read, if it cannot."""
    try:
        async with connection.transaction():
            await connection.fetch(statement("position"))
    except asyncpg.PostgresError as error:
        return str(error.args[0])
    return None


async def _with_sources(
    connection: Plain, found: DatabaseFacts, sources: Sequence[TableSource]
) -> DatabaseFacts:
    # The triggers are compared by the same functions that make them. These exist in this session only, until
    # its transaction ends.
    tables: list[SourceFacts] = []
    try:
        async with connection.transaction():
            await connection.execute(statement("install"))
            tables = [await _table(connection, source) for source in sources]
            compared = [await _triggers(connection, table) for table in tables]
            encoded = msgspec.json.encode(sources).decode()
            leftovers = await connection.fetch(statement("inspect_leftovers"), encoded)
    except asyncpg.InsufficientPrivilegeError as error:
        reason = f"role {found.role}: {error.args[0]}; triggers were not compared with what is declared"
        return msgspec.structs.replace(
            found, sources=tuple(tables), not_compared=(*found.not_compared, reason)
        )
    return msgspec.structs.replace(
        found, sources=tuple(compared), leftovers=tuple(Leftover(*row) for row in leftovers)
    )


async def _table(connection: Plain, source: TableSource) -> SourceFacts:
    row = await connection.fetchrow(statement("inspect_table"), source.table)
    if row is None:
        return SourceFacts(source, exists=False)
    columns = msgspec.json.decode(row["columns"], type=tuple[Column, ...])
    return SourceFacts(source, exists=True, name=row["name"], is_table=row["is_table"], columns=columns)


async def _triggers(connection: Plain, table: SourceFacts) -> SourceFacts:
    if not table.is_table:
        return table
    encoded = msgspec.json.encode(table.source).decode()
    try:
        async with connection.transaction():
            await connection.execute("select pg_temp.flowcraft_table($1::text::jsonb)", encoded)
            if table.source.is_of_guard:
                await connection.execute(_GUARD_FITS, encoded)
    except asyncpg.PostgresError as error:
        if error.sqlstate != DOES_NOT_FIT:
            raise
        return msgspec.structs.replace(table, refused=str(error.args[0]).partition(": ")[2])
    row: asyncpg.Record | None = None
    with suppress(asyncpg.PostgresError):  # the source does not fit the table; the columns show why
        async with connection.transaction():
            row = await connection.fetchrow(statement("inspect_source"), encoded)
    if row is None:
        return table
    return msgspec.structs.replace(
        table,
        installed=row["installed"],
        same=row["same"],
        operations=tuple(row["operations"]),
        wanted=tuple(row["wanted"]),
        disabled=tuple(row["disabled"]),
        uncovered=tuple(row["uncovered"]),
        parent=row["parent"],
        without_key=row["without_key"],
        without_index=row["without_index"],
    )


def function_name(source: TableSource) -> str:
    """Return the name of a source's trigger function, as `generate_body.sql` makes it for schema public."""
    text = f"{source.channel} {source.table} {source.event}" + (f" {source.place}" if source.place else "")
    digest = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:8]
    return f"{source.prefix[:_LONGEST_PREFIX]}_{digest}"


async def _notifies(dsn: str) -> bool | None:
    """Return whether a NOTIFY arrives, as the listener tests it; None if there is no connection."""
    try:
        async with ListenConnection.open(
            dsn, [], lambda _: None, lambda _topic, _payload: None
        ) as connection:
            return await connection.proves_notifications(_PROBE_SECONDS)
    except LogUnavailable:
        return None
