"""Table facts: the columns of a table, and the trigger that a source would get there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import msgspec

from flowcraft.adapters.postgres.connections import pinned
from flowcraft.adapters.postgres.embedded import EmbeddedPostgres, ServerFailed
from flowcraft.adapters.postgres.statements import DOES_NOT_FIT, statement
from flowcraft.adapters.postgres.triggers import TableSource, quoted
from flowcraft.errors import DeclarationError, RealtimeError

if TYPE_CHECKING:
    from flowcraft.adapters.postgres.connections import Plain


class DatabaseUnreadable(RealtimeError):
    """A database whose tables cannot be looked up."""

    code = "database_unreadable"


class TableColumn(msgspec.Struct, frozen=True):
    """One column: the name of its type, and the texts it may hold, if its type or a constraint lists them."""

    name: str
    type: str
    is_array: bool
    required: bool
    filled: bool
    labels: tuple[str, ...]
    length: int | None = None


class TriggerText(msgspec.Struct, frozen=True):
    """The trigger function of one source, and the mark by which `migrate` knows that it is current."""

    function: str
    body: str
    settings: str
    mark: str
    triggers: str


@asynccontextmanager
async def inspected(dsn: str) -> AsyncIterator[Plain]:
    """Lend a connection in a transaction that is never committed.

    Raises:
        DatabaseUnreadable: the server does not answer, or refuses the connection.
    """
    try:
        connection = await asyncpg.connect(dsn)
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        reason = str(error) or type(error).__name__
        raise DatabaseUnreadable(f"the database cannot be reached: {reason}; see --dsn") from None
    try:
        async with pinned(connection, but=("search_path",), commit=False):
            await connection.execute(statement("pin"))
            yield connection
    finally:
        await connection.close(timeout=5)


@asynccontextmanager
async def scratch(migrations: Sequence[Path]) -> AsyncIterator[str]:
    """Provide a database that has the tables of some migrations and ends with the block.

    Raises:
        BinariesNotFound: no PostgreSQL is installed that could be started.
        DatabaseUnreadable: it does not start, or it refuses a migration.
    """
    try:
        server = await asyncio.to_thread(EmbeddedPostgres.start)
    except ServerFailed as error:
        raise DatabaseUnreadable(f"{error}; or name a database that has the tables with --dsn") from None
    try:
        await _apply(server.dsn, migrations)
        yield server.dsn
    finally:
        await asyncio.to_thread(server.close)


async def primary_key_of(connection: Plain, table: str) -> list[str]:
    """Return the columns of a table's primary key; none if it has none."""
    rows = await connection.fetch(statement("primary_key"), quoted(table))
    return [row["name"] for row in rows]


async def columns_of(connection: Plain, table: str) -> list[TableColumn]:
    """Return the columns of a table.

    Raises:
        DatabaseUnreadable: there is no such table.
    """
    rows = await connection.fetch(statement("columns"), quoted(table))
    if not rows:
        there = [row["name"] for row in await connection.fetch(statement("tables"))]
        raise DatabaseUnreadable(
            f"there is no table {table}; there is {', '.join(there) or 'no table at all'}"
        )
    return [msgspec.convert(dict(row), TableColumn) for row in rows]


async def trigger_text(connection: Plain, source: TableSource) -> TriggerText:
    """Return the trigger function that `migrate` would make.

    Raises:
        DeclarationError: the source does not fit its table.
    """
    await connection.execute(statement("install"))
    try:
        row: Any = await connection.fetchrow(statement("trigger"), msgspec.json.encode(source).decode())
    except asyncpg.PostgresError as error:
        if error.sqlstate != DOES_NOT_FIT:
            raise
        raise DeclarationError(str(error.args[0])) from None
    return msgspec.convert(dict(row), TriggerText)


async def _apply(dsn: str, migrations: Sequence[Path]) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for file in migrations:
            try:
                await connection.execute(await asyncio.to_thread(file.read_text, "utf-8"))
            except asyncpg.PostgresError as error:
                raise DatabaseUnreadable(
                    f"{file} does not run on an empty database: {error}; "
                    "name a database that has the tables with --dsn"
                ) from None
    finally:
        await connection.close()
