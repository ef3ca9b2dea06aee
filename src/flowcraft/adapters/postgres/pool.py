"""Pool: lend the connections of an event loop, and turn what a database fails with into our errors."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import asyncpg

from flowcraft.adapters.loop_end import LoopEnd
from flowcraft.adapters.postgres.connections import (
    ANSWER_SECONDS,
    APPLICATION_NAME,
    CONNECT_SECONDS,
    is_pooled,
    open_session,
    pin,
    pinned,
)
from flowcraft.errors import LogTimeout, LogUnavailable

if TYPE_CHECKING:
    from flowcraft.adapters.postgres.connections import AnyConnection, FindDsn, Plain, Pool

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 1.0
"""Connections that do not close in order within this time are terminated."""
PREPARED_STATEMENTS = 100
"""asyncpg's own default; this package has about 20."""
_INSTALL = "run `flowcraft migrate`"
NOT_WRITABLE = (asyncpg.ReadOnlySQLTransactionError, asyncpg.ObjectNotInPrerequisiteStateError)
"""Errors of a standby, or of a database that is not as a primary has to be."""
OF_THE_DATABASE = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
)
"""Errors of a database that cannot be read now, whatever is read."""
_GONE = (
    *OF_THE_DATABASE,
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)


@dataclass(slots=True)
class _LoopPool:
    """The pool of one event loop."""

    end: LoopEnd
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    pool: Pool | None = None


class OwnPool:
    """A pool that is given, or one for each event loop: opened when needed, closed with its loop or owner."""

    def __init__(
        self,
        database: str | Pool | FindDsn,
        *,
        size: int = 4,
        connected: Callable[[], None] | None = None,
    ) -> None:
        """Prepare it; `connected` is called for each connection that a pool of our own makes."""
        self._given = None if isinstance(database, str) or callable(database) else database
        self._dsn = database if isinstance(database, str) or callable(database) else ""
        self._size = size
        self._connected = connected
        self._pooled = False
        self._opened: dict[asyncio.AbstractEventLoop, _LoopPool] = {}

    @asynccontextmanager
    async def connection(self, *, snapshot: bool = False) -> AsyncIterator[AnyConnection]:
        """Lend a connection, with our settings: in a transaction, where the session belongs to others too.

        With `snapshot`, it is in a transaction all of whose statements see the same.
        """
        opened = self._opened.get(asyncio.get_running_loop())
        pool = self._given or (opened and opened.pool) or await self._open()
        async with pool.acquire() as connection:
            try:
                if self._given is None and not self._pooled and not snapshot:
                    yield connection
                else:
                    async with pinned(connection, abandon=True, snapshot=snapshot):
                        yield connection
            except (TimeoutError, asyncio.CancelledError):
                # The pool would first wait for an answer to the cancellation.
                connection.terminate()
                raise

    async def close(self) -> None:
        """Close the pools that are our own."""
        opened, self._opened = self._opened, {}
        for loop, one in opened.items():
            if loop is asyncio.get_running_loop():
                await one.end.drop()
                await _close(one.pool)
            elif one.pool is not None and not loop.is_closed():
                loop.call_soon_threadsafe(one.pool.terminate)

    async def _open(self) -> Pool:
        loop = asyncio.get_running_loop()
        opened = self._opened.get(loop)
        if opened is None:
            for closed in [other for other in self._opened if other.is_closed()]:
                del self._opened[closed]
            opened = self._opened[loop] = _LoopPool(LoopEnd(partial(self._end_with, loop)))
            await opened.end.begin()
        async with opened.opening:
            if opened.pool is None:
                dsn = self._dsn if isinstance(self._dsn, str) else self._dsn()
                self._pooled = await _finds_pooler(dsn)
                opened.pool = await asyncpg.create_pool(
                    dsn,
                    min_size=1,
                    max_size=self._size,
                    init=self._prepare,
                    reset=_nothing_to_reset,
                    timeout=CONNECT_SECONDS,
                    command_timeout=ANSWER_SECONDS,
                    # In transaction mode the next statement may run where it was not prepared.
                    statement_cache_size=0 if self._pooled else PREPARED_STATEMENTS,
                    server_settings={"application_name": APPLICATION_NAME},
                )
            return opened.pool

    async def _end_with(self, loop: asyncio.AbstractEventLoop) -> None:
        opened = self._opened.pop(loop, None)
        if opened is not None:
            await _close(opened.pool)

    async def _prepare(self, connection: Plain) -> None:
        if not self._pooled:
            await pin(connection)
        if self._connected is not None:
            self._connected()


async def _close(pool: Pool | None) -> None:
    if pool is not None:
        with suppress(TimeoutError):  # the pool is terminated then
            await asyncio.wait_for(pool.close(), CLOSE_SECONDS)


async def _finds_pooler(dsn: str) -> bool:
    connection = await open_session(dsn)
    try:
        pooled = await is_pooled(connection)
    finally:
        connection.terminate()
    if pooled:
        logger.info("a pooler is in front of the database; statements are not prepared")
    return pooled


async def _nothing_to_reset(connection: Plain) -> None:
    """Skip the round trip after each use: no statement of this package changes its session later."""


@contextmanager
def unavailable() -> Iterator[None]:
    """Turn the error of a database that cannot be read now into `LogUnavailable`."""
    try:
        yield
    except NOT_WRITABLE as error:
        raise LogUnavailable(str(error.args[0])) from error
    except (
        asyncpg.InvalidSchemaNameError,
        asyncpg.UndefinedFunctionError,
        asyncpg.UndefinedTableError,
    ) as error:
        raise LogUnavailable(f"the database has no schema flowcraft ({error.args[0]}); {_INSTALL}") from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise LogUnavailable(f"{error.args[0]}; grants are listed in 0006_databases.sql") from error
    except asyncpg.ClientConfigurationError as error:  # a ValueError too, for an address that is none
        raise LogUnavailable(f"the database cannot be reached: {error}") from error
    except TimeoutError as error:
        raise LogTimeout(f"the database did not answer in time{_in_detail(error)}") from error
    except _GONE as error:
        if isinstance(error, ValueError):  # asyncpg's for an argument that does not fit its parameter
            raise
        raise LogUnavailable(
            f"the database cannot be reached: {str(error) or type(error).__name__}"
        ) from error


def _in_detail(error: Exception) -> str:
    return f": {error}" if str(error) else ""
