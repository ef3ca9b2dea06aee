"""The service: broadcasts in a transaction of its own, or in the caller's."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from flowcraft.adapters.postgres.connections import OwnPool
from flowcraft.adapters.postgres.statements import statement
from flowcraft.channels import Channel

if TYPE_CHECKING:
    from flowcraft.adapters.postgres.connections import Pool

E = TypeVar("E")


class PostgresRealtimeService:
    """Broadcasts into the log of one database. An error of the database is the caller's to see, as it is.

    It takes a pool, which stays the caller's, or a dsn, for which it opens its own when a broadcast first
    needs it; `close` closes that.
    """

    def __init__(self, database: str | Pool) -> None:
        self._pool = OwnPool(database)

    async def broadcast(self, channel: Channel[E], event: E, *, via: object | None = None) -> None:
        """State an event on a channel: `ports.RealtimeService`.

        A connection or session of a synchronous library is called where it stands, which holds the event
        loop for the length of one statement.

        Raises:
            PayloadInvalid: the event does not fit its type; nothing was stored.
            TypeError: `via` is nothing that an event can travel through.
        """
        payload = channel.declaration.payload.encode(event)
        name = "emit" if channel.declaration.durable else "announce"
        if via is None:
            async with self._pool.connection() as connection:
                await connection.execute(statement(name), channel.name, payload)
        else:
            await _send(via, name, channel.name, payload)

    async def close(self) -> None:
        """Close the connections that the service opened itself."""
        await self._pool.close()


async def _send(via: object, name: str, channel: str, payload: str) -> None:
    if isinstance(via, asyncpg.Connection | PoolConnectionProxy):
        connection = cast("asyncpg.Connection[asyncpg.Record]", via)
        await connection.execute(statement(name), channel, payload)
    elif _is_one_of(via, "psycopg", "Connection", "AsyncConnection"):
        await _execute(via, _with(name, "%s", "%s"), (channel, payload))
    elif _is_one_of(via, "sqlalchemy", "Connection", "AsyncConnection", "Session", "AsyncSession"):
        await _send_by_sqlalchemy(via, name, channel, payload)
    elif _is_one_of(via, "sqlalchemy", "scoped_session", "async_scoped_session"):
        await _send_by_sqlalchemy(cast(Any, via)(), name, channel, payload)
    else:
        raise TypeError(
            f"via takes an asyncpg or psycopg connection or an SQLAlchemy connection or session, "
            f"got {type(via).__module__}.{type(via).__qualname__}{_hint(via)}"
        )


async def _send_by_sqlalchemy(via: object, name: str, channel: str, payload: str) -> None:
    from sqlalchemy import text  # the caller has imported it

    query = text(_with(name, "cast(:channel as text)", "cast(:payload as text)").replace("::text", ""))
    await _execute(via, query, {"channel": channel, "payload": payload})


class _Executes(Protocol):
    def execute(self, query: Any, arguments: Any, /) -> object: ...  # noqa: ANN401  # of optional libraries


async def _execute(via: object, query: object, arguments: object) -> None:
    result = cast(_Executes, via).execute(query, arguments)
    if isinstance(result, Awaitable):
        await cast(Awaitable[object], result)


def _with(name: str, channel: str, payload: str) -> str:
    # Without its comment, in which a driver would look for placeholders.
    query = "".join(line for line in statement(name).splitlines() if not line.startswith("--"))
    return query.replace("$1", channel).replace("$2", payload)


def _is_one_of(via: object, library: str, *names: str) -> bool:
    # By name and not by import: the library is optional, and whoever has an instance has imported it.
    return any(
        ancestor.__name__ in names and ancestor.__module__.partition(".")[0] == library
        for ancestor in type(via).__mro__
    )


def _hint(via: object) -> str:
    if hasattr(via, "acquire") or hasattr(via, "connect") or hasattr(via, "connection"):
        return "; take a connection from it, and pass that"
    return ""
