"""NatsBackend: a node without a database, which follows the relays that read it."""

from __future__ import annotations

from typing import TypeVar, final

from flowcraft.adapters.nats.address import LogAddress
from flowcraft.adapters.nats.connection import NatsConnection, require_nats
from flowcraft.adapters.nats.edge import Edge, EdgeLog, find_database
from flowcraft.adapters.nats.edge_stores import EdgeMembers, EdgeRows
from flowcraft.adapters.nats.messages import Answer, Ask
from flowcraft.adapters.nats.questions import Questions, error_of
from flowcraft.adapters.postgres.address import NoDatabase
from flowcraft.adapters.postgres.backend import PostgresBackend
from flowcraft.core.withdrawals import Withdrawal, encode_withdrawal
from flowcraft.declared_channels import Channel
from flowcraft.ports import BackendContext, LogReader

E = TypeVar("E")


@final
class NatsBackend:
    """A `Backend` of an edge: relays at an address of NATS send it the log, and it reads no database.

    `database` is for broadcasts with `via`, and for all others where its address is known; without it they
    are sent to a relay.
    """

    def __init__(self, url: str, database: PostgresBackend | None = None) -> None:
        """Connect to nothing yet."""
        self._url = url
        self.database = database or PostgresBackend()
        self.edge: Edge | None = None
        self._service = EdgeService(self)

    @property
    def address(self) -> LogAddress:
        """Where NATS is.

        Raises:
            LogAddressInvalid: the address can never work.
        """
        return LogAddress.parse(self._url)

    @property
    def service(self) -> EdgeService:
        """Broadcasts by the database if its address is known, and else by a relay."""
        return self._service

    def open(self, context: BackendContext) -> LogReader:
        """Return the log, the wakeups, the rows, the members, and the task `nats`.

        Raises:
            LogAddressInvalid: the address can never work.
            NatsMissing: nats-py is not installed.
        """
        require_nats()
        edge = self.edge = Edge(self.address, context)
        return LogReader(
            EdgeLog(edge),
            edge,
            EdgeRows(edge),
            EdgeMembers(edge),
            upkeep={"nats": edge.run},
            is_fresh=lambda: edge.is_fresh,
            edge=edge.report,
        )

    async def close(self) -> None:
        """Close every connection; it can be opened again, also in another event loop."""
        self.edge = None
        await self.database.close()


@final
class EdgeService:
    """Implements `RealtimeService`, `SyncRealtimeService` and `RevokingService` for an edge."""

    def __init__(self, backend: NatsBackend) -> None:
        self._backend = backend

    async def broadcast(self, channel: Channel[E], event: E, *, via: object | None = None) -> None:
        """Broadcast an event on a channel: `RealtimeService.broadcast`.

        Without `via` and without an answer of the relay, the event may have been broadcast nevertheless.

        Raises:
            PayloadInvalid: the event does not fit its type; nothing was stored.
            LogUnavailable: no relay answered.
            TypeError: `via` is no connection or session that is supported, or has no transaction open.
        """
        if via is not None or self._has_database():
            await self._backend.database.service.broadcast(channel, event, via=via)
            return
        payload = channel.declaration.payload.encode(event)
        ask = Ask(ask="broadcast", channels=(channel.name,), payload=payload)
        await self._ask(ask, type(event).__name__)

    def broadcast_sync(self, channel: Channel[E], event: E, *, via: object) -> None:
        """Broadcast an event in the transaction of a synchronous connection: `SyncRealtimeService`."""
        self._backend.database.service.broadcast_sync(channel, event, via=via)

    async def revoke(self, withdrawal: Withdrawal, *, via: object | None = None) -> None:
        """Withdraw rights: `ports.RevokingService`."""
        if via is not None or self._has_database():
            await self._backend.database.service.revoke(withdrawal, via=via)
        else:
            await self._ask(Ask(ask="revoke", payload=encode_withdrawal(withdrawal)), "withdrawal")

    async def _ask(self, ask: Ask, what: str) -> None:
        edge = self._backend.edge
        answer = await (edge.ask(ask) if edge is not None else self._ask_alone(ask))
        if answer.error is not None:
            raise error_of(answer.error, "", what)

    async def _ask_alone(self, ask: Ask) -> Answer:
        """Ask over a connection of its own: no node is open."""
        address = self._backend.address
        async with NatsConnection.open(address, "flowcraft service") as connection:
            subjects = address.subjects or await find_database(connection, address)
            questions = Questions(connection, subjects, lambda _: False)
            await questions.listen()
            return await questions.ask(ask)

    def _has_database(self) -> bool:
        try:
            return bool(self._backend.database.dsn)
        except NoDatabase:
            return False
