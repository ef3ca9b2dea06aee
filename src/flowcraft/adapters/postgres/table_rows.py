"""The rows of channels in PostgreSQL: one statement with the cursor and the rows of its snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import asyncpg
import msgspec

from flowcraft.adapters.postgres.inspection import function_name
from flowcraft.adapters.postgres.pool import NOT_WRITABLE, OF_THE_DATABASE, OwnPool, unavailable
from flowcraft.adapters.postgres.statements import statement
from flowcraft.adapters.postgres.triggers import TableSource, table_sources
from flowcraft.channels import Channels
from flowcraft.cursors import Cursor
from flowcraft.errors import LogTimeout, RowsLimitExceeded, RowsUnreadable
from flowcraft.records import Limit, TableRows

if TYPE_CHECKING:
    from flowcraft.adapters.postgres.connections import AnyConnection, Pool

CONNECTIONS = 3
"""Connections for the rows of a node: apart from those of the log, which must not wait for a long list."""


class _StateHead(msgspec.Struct, frozen=True):
    cursor: str
    rows: int
    bytes: int
    count: int = 0
    """The members of a channel that has a count in the place of their list."""


class PostgresRows:
    """Implements `RowsReader` for the declared tables of a database.

    It takes a pool, which stays the caller's, or a dsn, for which it opens its own; `close` closes that.
    """

    def __init__(self, database: str | Pool, channels: Channels) -> None:
        self._pool = OwnPool(database, size=CONNECTIONS)
        self._members = {d.prefix for d in channels if d.members_of is not None}
        self._sources = {
            source.prefix: (function_name(source), source)
            for source in table_sources(channels)
            if source.key is not msgspec.UNSET
        }

    async def read(self, channel: str, limit: Limit) -> TableRows:
        prefix, _, value = channel.partition(".")
        most = (limit.events, limit.bytes or 2**62)
        source: TableSource | None = None
        name = "members"
        arguments: tuple[object, ...] = (channel, *most)
        if prefix not in self._members:
            function, source = self._sources[prefix]
            name, arguments = "rows", (function, value or None, *most)
        try:
            with unavailable():
                async with self._pool.connection() as connection:
                    head, *rows = await _fetch(connection, channel, name, arguments)
        except LogTimeout as error:
            reason = f"{error}; is there an index for the parameter of the channel?"
            raise RowsUnreadable(channel, reason) from error
        found = msgspec.json.decode(head["content"], type=_StateHead)
        _check_limit(channel, source, found, limit)
        readable = tuple([row["content"] for row in rows if row["kind"] == b"e"])
        return TableRows(Cursor.parse(found.cursor), readable, found.count + len(rows) - len(readable))

    async def close(self) -> None:
        """Close the connections that it opened itself."""
        await self._pool.close()


async def _fetch(
    connection: AnyConnection, channel: str, name: str, arguments: Sequence[object]
) -> list[asyncpg.Record]:
    """Fetch; an error that concerns this table alone is `RowsUnreadable`, any other that of the log."""
    try:
        return await connection.fetch(statement(name), *arguments)
    except asyncpg.LockNotAvailableError as error:
        reason = f"another transaction has its table locked ({error.args[0]})"
        raise RowsUnreadable(channel, reason) from error
    except asyncpg.QueryCanceledError as error:
        raise RowsUnreadable(channel, str(error.args[0])) from error
    except (*OF_THE_DATABASE, *NOT_WRITABLE):  # the log cannot be read either
        raise
    except asyncpg.PostgresError as error:
        raise RowsUnreadable(channel, f"{error.args[0]}; run `flowcraft migrate`") from error


def _check_limit(channel: str, source: TableSource | None, found: _StateHead, limit: Limit) -> None:
    advice = ""
    if source is not None:
        where = f"where={source.where!r}" if isinstance(source.where, str) else "no where="
        advice = f"; it is declared with {where} and {'' if source.parameter else 'no '}params="
    if found.rows > limit.events:
        raise RowsLimitExceeded(channel, "rows_per_channel", limit.events, advice)
    if limit.bytes is not None and found.bytes > limit.bytes:
        raise RowsLimitExceeded(channel, "rows_bytes", limit.bytes, advice)
