"""Transactions: how a contract writes to the log under test."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import Protocol

from flowcraft.ports import EventLog
from flowcraft.records import Record


class Transaction(Protocol):
    """A transaction that writes events. Its id is drawn when it begins, those of events when emitted."""

    @property
    def xid(self) -> int: ...

    def emit(self, channel: str, payload: str) -> Awaitable[None] | None: ...

    def commit(self) -> Awaitable[None] | None: ...

    def rollback(self) -> Awaitable[None] | None: ...


class AppendableLog(EventLog, Protocol):
    """A log that a test can write to, with methods that are plain or asynchronous."""

    def begin(self) -> Transaction | Awaitable[Transaction]:
        """Start a transaction, beside those that run already if the log has more than one writer."""
        ...

    def trim(self, *, before: int) -> object:
        """Remove the events of transactions below `before`, as far as all of these have finished."""
        ...


async def begin(log: AppendableLog, *events: str) -> Transaction:
    """Start a transaction that writes events, given as `channel payload`; a word becomes a JSON string."""
    transaction = log.begin()
    if isinstance(transaction, Awaitable):
        transaction = await transaction
    for event in events:
        channel, _, payload = event.partition(" ")
        await done(transaction.emit(channel, payload if payload[0] in '{"9' else f'"{payload}"'))
    return transaction


async def commit(log: AppendableLog, *events: str) -> int:
    """Commit events in one transaction; return its id."""
    transaction = await begin(log, *events)
    await done(transaction.commit())
    return transaction.xid


async def done(outcome: Awaitable[None] | None) -> None:
    """Finish a call of a method that may be plain or asynchronous."""
    if outcome is not None:
        await outcome


async def done_with(outcome: object) -> None:
    """Finish a call whose result does not matter."""
    if isinstance(outcome, Awaitable):
        await outcome


def texts(records: Iterable[Record]) -> list[str]:
    """Return records as `begin` takes them."""
    return [f"{record.channel} {record.payload}".replace('"', "") for record in records]
