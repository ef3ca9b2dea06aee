"""Transactions and states: what every repository has in common."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

import msgspec

T = TypeVar("T")


class State(msgspec.Struct, Generic[T], frozen=True):
    """What the database held at one moment, and the cursor of that moment, to go on from."""

    data: T
    cursor: str


class Transaction(Protocol):
    """One database transaction: everything in it happens, or nothing does, its events included."""

    @property
    def connection(self) -> object:
        """What `RealtimeService.broadcast` takes as `via`."""
        ...

    async def xid(self) -> str:
        """Name the transaction, so that a page can wait until it has seen what it changed."""
        ...
