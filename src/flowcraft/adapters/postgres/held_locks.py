"""HeldLock: an advisory lock of ours that a session holds whose role has no use for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowcraft.adapters.postgres.statements import statement

if TYPE_CHECKING:
    from flowcraft.adapters.postgres.connections import AnyConnection


@dataclass(frozen=True, slots=True)
class HeldLock:
    """An advisory lock of ours that a session holds whose role has no use for it.

    `gid` is of a prepared transaction, which has no process.
    """

    lock: int
    pid: int | None
    role: str | None
    name: str
    gid: str | None


async def held_locks(connection: AnyConnection) -> tuple[HeldLock, ...]:
    """Return the advisory locks of ours that sessions hold whose roles have no use for them."""
    return tuple(HeldLock(**dict(one)) for one in await connection.fetch(statement("lock_holders")))
