"""Loop pools: a pool of connections for each event loop, opened when needed, closed with its loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
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
)

if TYPE_CHECKING:
    from flowcraft.adapters.postgres.connections import FindDsn, Plain, Pool

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 1.0
"""Connections that do not close in order within this time are terminated."""
PREPARED_STATEMENTS = 100
"""asyncpg's own default; this package has about 20."""


@dataclass(slots=True)
class LoopPool:
    """The pool of one event loop."""

    end: LoopEnd
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    pool: Pool | None = None


class LoopPools:
    """The pools of all event loops that use one database."""

    def __init__(
        self,
        dsn: str | FindDsn,
        size: int,
        connected: Callable[[], None] | None,
        returned: Callable[[Plain], Awaitable[None]],
    ) -> None:
        """Prepare them; `connected` is called for each new connection, `returned` after each use of one."""
        self._returned = returned
        self._dsn = dsn
        self._size = size
        self._connected = connected
        self.is_pooled = False
        """Whether a pooler is in front of the database: sessions belong to others too."""
        self.opened: dict[asyncio.AbstractEventLoop, LoopPool] = {}

    async def open(self) -> Pool:
        """Return the pool of the running loop."""
        loop = asyncio.get_running_loop()
        opened = self.opened.get(loop)
        if opened is None:
            for closed in [other for other in self.opened if other.is_closed()]:
                del self.opened[closed]
            opened = self.opened[loop] = LoopPool(LoopEnd(partial(self._end_with, loop)))
            await opened.end.begin()
        async with opened.opening:
            if opened.pool is None:
                dsn = self._dsn if isinstance(self._dsn, str) else self._dsn()
                self.is_pooled = await _finds_pooler(dsn)
                opened.pool = await asyncpg.create_pool(
                    dsn,
                    min_size=1,
                    max_size=self._size,
                    init=self._prepare,
                    reset=self._returned,
                    timeout=CONNECT_SECONDS,
                    command_timeout=ANSWER_SECONDS,
                    # In transaction mode the next statement may run where it was not prepared.
                    statement_cache_size=0 if self.is_pooled else PREPARED_STATEMENTS,
                    server_settings={"application_name": APPLICATION_NAME},
                )
            return opened.pool

    async def close(self) -> None:
        """Close all pools; those of other loops at once."""
        opened, self.opened = self.opened, {}
        for loop, one in opened.items():
            if loop is asyncio.get_running_loop():
                await one.end.drop()
                await _close(one.pool)
            elif one.pool is not None and not loop.is_closed():
                loop.call_soon_threadsafe(one.pool.terminate)

    async def _end_with(self, loop: asyncio.AbstractEventLoop) -> None:
        opened = self.opened.pop(loop, None)
        if opened is not None:
            await _close(opened.pool)

    async def _prepare(self, connection: Plain) -> None:
        if not self.is_pooled:
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
