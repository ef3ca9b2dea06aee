"""The port of announcements."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from examples.flowcraft.api.core.domain.events import Announcement, Urgency
from examples.flowcraft.api.core.ports.transaction import State, Transaction


class AnnouncementTransaction(Transaction, Protocol):
    """EphemeralNotifications, inside one transaction."""

    async def add(self, text: str, level: Urgency) -> Announcement:
        """Keep an announcement, with its id and time."""
        ...


class AnnouncementRepository(Protocol):
    """Where announcements are kept."""

    def transaction(self) -> AbstractAsyncContextManager[AnnouncementTransaction]:
        """Begin a transaction: it commits at the end of the block, and rolls back if the block raises."""
        ...

    async def newest(self, limit: int) -> State[list[Announcement]]:
        """Return the newest announcements, the newest first."""
        ...
