"""Via: execute one statement in the caller's transaction, on the connection of any supported library.

Libraries are recognised by name and not by import: they are optional, and a caller that has an instance of
one has imported it. The connection must have a transaction open, or open one with its next statement: in
autocommit mode the event would be committed even if the caller's change is rolled back.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from flowcraft.adapters.postgres.statements import statement

if TYPE_CHECKING:
    import psycopg
    from django.db.backends.base.base import BaseDatabaseWrapper

Sender: TypeAlias = Callable[[Any, str, Sequence[str]], None]

_VALUE = re.compile(r"\$(\d)")
_TAKES = (
    "an asyncpg or psycopg connection, an SQLAlchemy connection or session, or one of Django or its alias"
)
_TAKES_SYNC = "a psycopg connection, an SQLAlchemy connection or session, or one of Django or its alias"


async def send(via: object, name: str, values: Sequence[str]) -> None:
    """Execute the statement `name`, which broadcasts an event, in the transaction that is open on `via`.

    Raises:
        TypeError: it is no connection or session that is supported, or has no transaction.
    """
    if isinstance(via, asyncpg.Connection | PoolConnectionProxy):
        await _by_asyncpg(cast("asyncpg.Connection[asyncpg.Record]", via), name, values)
    elif _is_one_of(via, "psycopg", "AsyncConnection"):
        connection = cast("psycopg.AsyncConnection[object]", via)
        await connection.execute(*_in_psycopg(connection, name, values))
    elif _is_one_of(via, "sqlalchemy", "async_scoped_session"):
        await send(cast(Any, via)(), name, values)
    elif _is_one_of(via, "sqlalchemy", "AsyncConnection", "AsyncSession"):
        await cast(Any, via).run_sync(_by_sqlalchemy, name, values)
    elif _is_of_django(via):
        await _by_django_in_its_thread(via, name, values)
    else:
        _sender(via, _TAKES)(via, name, values)


def send_sync(via: object, name: str, values: Sequence[str]) -> None:
    """Do the same from code that is not asynchronous.

    Raises:
        TypeError: it is no synchronous connection or session that is supported, or has no transaction.
    """
    sender = _by_django if _is_of_django(via) else _sender(via, _TAKES_SYNC)
    sender(via, name, values)


def _sender(via: object, takes: str) -> Sender:
    if _is_one_of(via, "psycopg", "Connection"):
        return _by_psycopg
    if _is_one_of(via, "sqlalchemy", "Connection", "Session"):
        return _by_sqlalchemy
    if _is_one_of(via, "sqlalchemy", "scoped_session"):
        return _by_scoped_session
    given = f"{type(via).__module__}.{type(via).__qualname__}"
    raise TypeError(f"via takes {takes}; got {given}{_hint(via)}")


async def _by_asyncpg(
    connection: asyncpg.Connection[asyncpg.Record], name: str, values: Sequence[str]
) -> None:
    if not connection.is_in_transaction():
        raise _no_transaction("asyncpg connection", "async with connection.transaction(): ...")
    await connection.execute(statement(name), *values)


def _by_psycopg(connection: psycopg.Connection[object], name: str, values: Sequence[str]) -> None:
    connection.execute(*_in_psycopg(connection, name, values))


def _in_psycopg(
    connection: psycopg.Connection[object] | psycopg.AsyncConnection[object], name: str, values: Sequence[str]
) -> tuple[bytes, list[str]]:
    from psycopg.pq import TransactionStatus

    if connection.autocommit and connection.info.transaction_status is TransactionStatus.IDLE:
        raise _no_transaction("psycopg connection", "with connection.transaction(): ...")
    query, ordered = _in_order(name, values)
    return query.encode(), ordered


def _by_sqlalchemy(via: Any, name: str, values: Sequence[str]) -> None:  # noqa: ANN401  # of either kind
    from sqlalchemy import text

    connection = via.connection() if _is_one_of(via, "sqlalchemy", "Session") else via
    # Every driver for PostgreSQL has this attribute, as have SQLAlchemy's wrappers of the asynchronous ones.
    if getattr(connection.connection.dbapi_connection, "autocommit", False):
        raise _no_transaction("SQLAlchemy connection", "an engine without isolation_level='AUTOCOMMIT'")
    query, _ = _with(name, r"cast(:value\1 as text)")
    bound = {f"value{number}": value for number, value in enumerate(values, 1)}
    connection.execute(text(query.replace("::text", "")), bound)


def _by_scoped_session(scoped: Callable[[], Any], name: str, values: Sequence[str]) -> None:
    _by_sqlalchemy(scoped(), name, values)


async def _by_django_in_its_thread(via: object, name: str, values: Sequence[str]) -> None:
    """Run in the thread in which Django's ORM works for a coroutine, and which has the transaction."""
    from asgiref.sync import sync_to_async

    await sync_to_async(_by_django)(via, name, values)


def _by_django(via: object, name: str, values: Sequence[str]) -> None:
    connection = _connection_of_django(via)
    if connection.vendor != "postgresql":
        raise TypeError(
            f"via takes a connection to PostgreSQL; {connection.alias!r} is to {connection.vendor}"
        )
    if connection.get_autocommit():
        raise _no_transaction(
            f"connection {connection.alias!r} of Django",
            "with transaction.atomic(): ..., in a function that async code calls by sync_to_async",
        )
    with connection.cursor() as cursor:
        cursor.execute(*_in_order(name, values))


def _connection_of_django(via: object) -> BaseDatabaseWrapper:
    from django.db import connections

    if isinstance(via, str):
        return connections[via]
    # `django.db.connection` is a proxy of the connection of the thread that uses it.
    alias = getattr(via, "_alias", None)
    return cast("BaseDatabaseWrapper", via) if alias is None else connections[alias]


def _is_of_django(via: object) -> bool:
    if isinstance(via, str):
        return "django.db" in sys.modules and via in sys.modules["django.db"].connections
    return _is_one_of(via, "django", "BaseDatabaseWrapper", "ConnectionProxy")


def _in_order(name: str, values: Sequence[str]) -> tuple[str, list[str]]:
    query, order = _with(name, "%s")
    return query, [values[number - 1] for number in order]


def _with(name: str, placeholder: str) -> tuple[str, list[int]]:
    """Return a statement with a library's placeholders, and the number of the value that each stands for."""
    # Without its comment, in which a driver would look for placeholders.
    query = "\n".join(line for line in statement(name).splitlines() if not line.startswith("--"))
    return _VALUE.sub(placeholder, query), list(map(int, _VALUE.findall(query)))


def _is_one_of(via: object, library: str, *names: str) -> bool:
    return any(
        ancestor.__name__ in names and ancestor.__module__.partition(".")[0] == library
        for ancestor in type(via).__mro__
    )


def _no_transaction(what: str, instead: str) -> TypeError:
    return TypeError(
        f"this {what} has no transaction, so the event is committed even if your change is rolled back; "
        f"use {instead}, or leave via out"
    )


def _hint(via: object) -> str:
    asynchronous = _is_one_of(via, "asyncpg", "Connection", "PoolConnectionProxy") or _is_one_of(
        via, "psycopg", "AsyncConnection"
    )
    if asynchronous or _is_one_of(
        via, "sqlalchemy", "AsyncConnection", "AsyncSession", "async_scoped_session"
    ):
        return "; that one needs `await broadcast(...)`"
    if hasattr(via, "acquire") or hasattr(via, "connect") or hasattr(via, "connection"):
        return "; take a connection from it, and pass that"
    return ""
