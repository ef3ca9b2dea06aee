"""The port of announcements."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from examples.flowcraft.api.core.domain.events import Announcement, Urgency
from examples.flowcraft.api.core.ports.transaction import Transaction


class AnnouncementTransaction(Transaction, Protocol):
    """Announcements, inside one transaction."""

    async def add(self, text: str, level: Urgency) -> Announcement:
        """Keep an announcement, with its id and time."""
        ...

    async def forget(self, kept: int) -> None:
        """Delete all but the newest so many."""
        ...


class AnnouncementRepository(Protocol):
    """Where announcements are kept."""

    def transaction(self) -> AbstractAsyncContextManager[AnnouncementTransaction]:
        """Begin a transaction: it commits at the end of the block, and rolls back if the block raises."""
        ...
