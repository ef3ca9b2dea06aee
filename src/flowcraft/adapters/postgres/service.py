"""The service: broadcasts in a transaction of its own, or in the caller's."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from flowcraft.adapters.postgres.pool import OwnPool
from flowcraft.adapters.postgres.statements import statement
from flowcraft.adapters.postgres.via import send, send_sync
from flowcraft.core.withdrawals import Withdrawal
from flowcraft.declared_channels import Channel

if TYPE_CHECKING:
    from flowcraft.adapters.postgres.connections import FindDsn, Pool
    from flowcraft.ports import Tracer

E = TypeVar("E")


class PostgresRealtimeService:
    """Broadcasts into the log of one database. Errors of the database reach the caller unchanged.

    It takes a pool, which stays the caller's, or a dsn, or a function that finds one, for which it opens its
    own when a broadcast first needs it; `close` closes that. With a tracer, events on durable channels carry
    the active trace.
    """

    def __init__(self, database: str | Pool | FindDsn, tracer: Tracer | None = None) -> None:
        self._pool = OwnPool(database)
        self._tracer = tracer

    async def broadcast(self, channel: Channel[E], event: E, *, via: object | None = None) -> None:
        """Broadcast an event on a channel: `ports.RealtimeService`.

        A connection or session of a synchronous library is called in this thread, which blocks the event
        loop for the length of one statement.

        Raises:
            PayloadInvalid: the event does not fit its type; nothing was stored.
            TypeError: `via` is no connection or session that is supported, or has no transaction open.
        """
        name, values = _statement_of(channel, event, self._tracer)
        if via is None:
            async with self._pool.connection() as connection:
                await connection.execute(statement(name), *values)
        else:
            await send(via, name, values)

    async def broadcast_payload(self, name: str, payload: str, *, durable: bool) -> None:
        """Broadcast an event that was encoded and checked elsewhere, in a transaction of its own."""
        async with self._pool.connection() as connection:
            statement_name = "broadcast" if durable else "broadcast_ephemeral"
            await connection.execute(statement(statement_name), name, payload)

    def broadcast_sync(self, channel: Channel[E], event: E, *, via: object) -> None:
        """Broadcast an event in the transaction of a synchronous connection: `ports.SyncRealtimeService`.

        This opens no connection.

        Raises:
            PayloadInvalid: the event does not fit its type; nothing was stored.
            TypeError: `via` is no synchronous connection or session, or has no transaction open.
        """
        name, values = _statement_of(channel, event, self._tracer)
        send_sync(via, name, values)

    async def revoke(self, withdrawal: Withdrawal, *, via: object | None = None) -> None:
        """Withdraw rights: `ports.RevokingService`."""
        name = "ask_again" if withdrawal.ask else "revoke"
        values = [withdrawal.viewer or "", withdrawal.channel or ""]
        if via is None:
            async with self._pool.connection() as connection:
                await connection.execute(statement(name), *values)
        else:
            await send(via, name, values)

    async def close(self) -> None:
        """Close the connections that the service opened itself."""
        await self._pool.close()


def _statement_of(channel: Channel[E], event: E, tracer: Tracer | None) -> tuple[str, list[str]]:
    """Return the name of the statement that broadcasts an event, and its values."""
    values = [channel.name, channel.declaration.payload.encode(event)]
    if not channel.declaration.durable:
        return "broadcast_ephemeral", values
    trace = None if tracer is None else tracer.traceparent()
    return ("broadcast", values) if trace is None else ("broadcast_traced", [*values, trace])
