"""The members of channels in PostgreSQL: one statement for what a node has collected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from flowcraft.adapters.postgres.pool import OwnPool, unavailable
from flowcraft.adapters.postgres.statements import statement
from flowcraft.core.attendance import Change
from flowcraft.settings import MEMBERS_LISTED

if TYPE_CHECKING:
    from flowcraft.adapters.postgres.connections import Pool


class PostgresMembers:
    """Implements `MemberStore`, with the functions of the schema `flowcraft`.

    It takes a pool, which stays the caller's, or a dsn, for which it opens its own when it is first needed;
    `close` closes that. A channel with more than `listed` members has a count in the place of their list.
    """

    def __init__(self, database: str | Pool, *, listed: int = MEMBERS_LISTED) -> None:
        self._pool = OwnPool(database, size=1)
        self._listed = listed

    async def beat(self, node: str) -> Mapping[str, int]:
        with unavailable():
            async with self._pool.connection() as connection:
                rows = await connection.fetch(statement("beat"), node)
        return {row["name"]: row["count"] for row in rows}

    async def attend(self, node: str, changes: Sequence[Change], *, whole: bool) -> bool:
        channels, keys, infos = ([change[n] for change in changes] for n in range(3))
        with unavailable():
            async with self._pool.connection() as connection:
                written: bool = await connection.fetchval(
                    statement("attend"), node, whole, channels, keys, infos, self._listed
                )
        return written

    async def forget(self, beats: Mapping[str, int]) -> Sequence[str]:
        with unavailable():
            async with self._pool.connection() as connection:
                ended: list[str] = await connection.fetchval(statement("forget"), [*beats], [*beats.values()])
        return ended

    async def close(self) -> None:
        """Close the connection, if it is our own."""
        await self._pool.close()
