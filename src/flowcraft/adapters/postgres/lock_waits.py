"""Lock waits: report what a session waits for, from a second session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import asyncpg

from flowcraft.adapters.postgres.connections import connect
from flowcraft.adapters.postgres.statements import statement

QUIET_SECONDS = 2.0
"""Locks that are held for less are no news."""
_AGAIN_SECONDS = 1.0


@asynccontextmanager
async def reported(
    dsn: str, pid: int, report: Callable[[str], None], *, quiet: float = QUIET_SECONDS
) -> AsyncIterator[None]:
    """Report the sessions that the session `pid` waits for, once it has waited for `quiet` seconds."""
    watching = asyncio.create_task(_watch(dsn, pid, report, quiet))
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def _watch(dsn: str, pid: int, report: Callable[[str], None], quiet: float) -> None:
    """Look each second; the second session ends with the wait."""
    known: set[int] | None = None
    while True:
        await asyncio.sleep(quiet if known is None else _AGAIN_SECONDS)
        try:
            found = await _blocking(dsn, pid)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            report(f"waiting, maybe for a lock: no second session is there to see it ({error})")
            return
        if (now := {row["pid"] for row in found}) != (known or set()):
            for row in found:
                report(_sentence(row))
        known = now


async def _blocking(dsn: str, pid: int) -> list[asyncpg.Record]:
    connection = await connect(dsn, "flowcraft migrate")
    try:
        return await connection.fetch(statement("lock_waits"), pid)
    finally:
        await connection.close()


def _sentence(row: asyncpg.Record) -> str:
    lock = "another migration, or a session that holds its advisory lock"
    what = f"a lock on {row['relation']}" if row["relation"] else lock
    if not row["pid"] or row["role"] is None:
        return f"waiting for {what}: a prepared transaction has it, see pg_prepared_xacts"
    name = f" ({row['name']!r})" if row["name"] else ""
    since = f", in a transaction for {row['seconds']:,.0f} s" if row["seconds"] is not None else ""
    query = f", last query: {row['query']}" if row["query"] else ""
    return (
        f"waiting for {what}: process {row['pid']}{name} of role {row['role']} has it "
        f"({row['state'] or 'unknown state'}{since}{query}); "
        f"wait, or end it with `select pg_terminate_backend({row['pid']})`"
    )
