"""EphemeralNotifications in PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from examples.flowcraft.api.adapters.postgres.database import Database, PostgresTransaction
from examples.flowcraft.api.core.domain.events import Announcement, Urgency
from examples.flowcraft.api.core.ports import State


class PostgresAnnouncementTransaction(PostgresTransaction):
    """EphemeralNotifications, inside one transaction."""

    async def add(self, text: str, level: Urgency) -> Announcement:
        """Keep an announcement."""
        announcement = await self._one("announce", text, level, of=Announcement)
        assert announcement is not None
        return announcement


class PostgresAnnouncements:
    """Where announcements are kept."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresAnnouncementTransaction]:
        """Begin a transaction."""
        async with self._database.transaction() as connection:
            yield PostgresAnnouncementTransaction(connection)

    async def newest(self, limit: int) -> State[list[Announcement]]:
        """Return the newest announcements."""
        state = await self._database.state("newest_announcements", limit, of=list[Announcement])
        assert state is not None
        return state
