"""Transactions: write to the log under test."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import Protocol

from flowcraft.ports import EventLog
from flowcraft.records import Record


class Transaction(Protocol):
    """A transaction that writes events. Its id is assigned at `begin`, an event's id at `broadcast`."""

    @property
    def xid(self) -> int: ...

    def broadcast(self, channel: str, payload: str) -> Awaitable[None] | None: ...

    def commit(self) -> Awaitable[None] | None: ...

    def rollback(self) -> Awaitable[None] | None: ...


class AppendableLog(EventLog, Protocol):
    """A log that a test can write to, with synchronous or asynchronous methods."""

    def begin(self) -> Transaction | Awaitable[Transaction]:
        """Start a transaction; several may run at once if the log has more than one writer."""
        ...

    def trim(self, *, before: int) -> object:
        """Remove the events of transactions below `before`, up to the oldest running transaction."""
        ...


async def begin(log: AppendableLog, *events: str) -> Transaction:
    """Start a transaction that writes events, given as `channel payload`; a word becomes a JSON string."""
    transaction = log.begin()
    if isinstance(transaction, Awaitable):
        transaction = await transaction
    for event in events:
        channel, _, payload = event.partition(" ")
        await done(transaction.broadcast(channel, payload if payload[0] in '{"9' else f'"{payload}"'))
    return transaction


async def commit(log: AppendableLog, *events: str) -> int:
    """Commit events in one transaction; return its id."""
    transaction = await begin(log, *events)
    await done(transaction.commit())
    return transaction.xid


async def done(outcome: Awaitable[None] | None) -> None:
    """Finish a call of a method that may be synchronous or asynchronous."""
    if outcome is not None:
        await outcome


async def done_with(outcome: object) -> None:
    """Finish a call whose result does not matter."""
    if isinstance(outcome, Awaitable):
        await outcome


def texts(records: Iterable[Record]) -> list[str]:
    """Return records in the format of `begin`'s arguments."""
    return [f"{record.channel} {record.payload}".replace('"', "") for record in records]
