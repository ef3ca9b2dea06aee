"""Pool: lend the connections of an event loop, and turn what a database fails with into our errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import asyncpg

from flowcraft.adapters.postgres.connections import pinned
from flowcraft.adapters.postgres.loop_pools import LoopPools
from flowcraft.errors import LogTimeout, LogUnavailable

if TYPE_CHECKING:
    from flowcraft.adapters.postgres.connections import AnyConnection, FindDsn, Plain, Pool

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


class OwnPool:
    """A pool that is given, or one for each event loop."""

    def __init__(
        self,
        database: str | Pool | FindDsn,
        *,
        size: int = 4,
        connected: Callable[[], None] | None = None,
    ) -> None:
        """Prepare it; `connected` is called for each connection that a pool of our own makes."""
        self._given = None if isinstance(database, str) or callable(database) else database
        dsn = database if isinstance(database, str) or callable(database) else ""
        self._own = LoopPools(dsn, size, connected, _nothing_to_reset)

    @asynccontextmanager
    async def connection(self, *, snapshot: bool = False) -> AsyncIterator[AnyConnection]:
        """Lend a connection, with our settings: in a transaction, where the session belongs to others too.

        With `snapshot`, it is in a transaction all of whose statements see the same.
        """
        opened = self._own.opened.get(asyncio.get_running_loop())
        pool = self._given or (opened and opened.pool) or await self._own.open()
        async with pool.acquire() as connection:
            try:
                if self._given is None and not self._own.is_pooled and not snapshot:
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
        await self._own.close()


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
