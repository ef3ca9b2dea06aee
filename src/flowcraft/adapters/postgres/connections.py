"""Connections: how this package opens its own, and the settings that their sessions have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Literal, TypeAlias

import asyncpg

from flowcraft.adapters.postgres.statements import statement

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
    Plain: TypeAlias = asyncpg.Connection[asyncpg.Record]
    AnyConnection: TypeAlias = Plain | PoolConnectionProxy[asyncpg.Record]
    FindDsn: TypeAlias = Callable[[], str]
    """Returns the database's address, when it is needed and not before."""

APPLICATION_NAME = "flowcraft"
CONNECT_SECONDS = 2.0
"""A lost SYN is sent again after 1 s; a server that has not answered after 2 s is taken for gone."""
ANSWER_SECONDS = 30.0
"""A long replay takes seconds; a database that does not answer for this long is gone."""
_PINNED = {
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
    "search_path": "pg_catalog, pg_temp",
    "row_security": "on",
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "jit": "off",
    "work_mem": "32MB",
    "exit_on_error": "off",
    "plpgsql.extra_errors": "none",
    "flowcraft.notify": "on",
}
"""What a session of ours has, whatever `alter database` and `alter role` set for everybody else.

Time limits are this process's. `work_mem`: with the 4 MB of PostgreSQL, a read of 20,000 events is sorted on
disk, which takes a third of its time. The last one: no transaction of ours is ever prepared, see
`flowcraft.may_notify`.
"""
_SINCE = {"transaction_timeout": 17}
"""The PostgreSQL that brought a setting, where some that are supported are older."""
_WRITABLE = "set transaction read write, not deferrable;\n"


async def open_session(dsn: str, name: str = APPLICATION_NAME, *, timeout: float = CONNECT_SECONDS) -> Plain:
    """Open a connection with the server's settings; behind a pooler, its session may be that of others."""
    connection: Plain = await asyncpg.connect(
        dsn,
        timeout=timeout,
        statement_cache_size=0,  # behind a pooler, another session may have a statement of the same name
        server_settings={"application_name": name},
    )
    return connection


async def connect(dsn: str, name: str = APPLICATION_NAME) -> Plain:
    """Open a connection for few statements, which works behind a pooler too."""
    connection = await open_session(dsn, name)
    try:
        # Behind a pooler the session is also that of others, who did not choose our settings.
        if not await is_pooled(connection):
            await pin(connection)
    except BaseException:
        connection.terminate()
        raise
    return connection


@asynccontextmanager
async def pinned(
    connection: AnyConnection,
    *,
    but: Collection[str] = (),
    commit: bool = True,
    abandon: bool = False,
    snapshot: bool = False,
) -> AsyncIterator[None]:
    """Run a transaction with our settings, except those that `but` names; commit it, or roll it back.

    With `snapshot`, all its statements see the same.

    With `abandon`, the caller terminates the connection after a time-out or a cancellation: a rollback would
    first wait for an answer.
    """
    isolation: Literal["repeatable_read", "read_committed"] = (
        "repeatable_read" if snapshot else "read_committed"
    )
    pins = _pins(connection, "set local", but)
    transaction = connection.transaction(isolation=isolation)
    await transaction.start()
    try:
        try:
            await connection.execute(_WRITABLE + pins)
        except asyncpg.FeatureNotSupportedError:  # a standby has no transaction that can write
            await transaction.rollback()
            transaction = connection.transaction(isolation=isolation)
            await transaction.start()
            await connection.execute(pins)
        yield
    except BaseException as error:
        if abandon and isinstance(error, TimeoutError | asyncio.CancelledError):
            raise
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await transaction.rollback()
        raise
    await (transaction.commit() if commit else transaction.rollback())


async def pin(connection: Plain) -> None:
    """Give a session our settings."""
    await connection.execute(_pins(connection, "set"), timeout=CONNECT_SECONDS)


def _pins(connection: AnyConnection, set_: str, but: Collection[str] = ()) -> str:
    major = connection.get_server_version().major
    chosen = [name for name in _PINNED if name not in but and major >= _SINCE.get(name, 0)]
    return "".join(f"{set_} {name} = {_value(name)};\n" for name in chosen)


def _value(name: str) -> str:
    # A search path is a list of names; every other value is one string.
    return _PINNED[name] if name == "search_path" else f"'{_PINNED[name]}'"


async def is_pooled(connection: Plain) -> bool:
    """Return whether a pooler is between this process and the server."""
    pid: int = await connection.fetchval(statement("backend"), timeout=CONNECT_SECONDS)
    return pid != connection.get_server_pid()
