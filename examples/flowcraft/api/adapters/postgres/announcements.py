"""Announcements in PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from examples.flowcraft.api.adapters.postgres.database import Database, PostgresTransaction, sql
from examples.flowcraft.api.core.domain.events import Announcement, Urgency


class PostgresAnnouncementTransaction(PostgresTransaction):
    """Announcements, inside one transaction."""

    async def add(self, text: str, level: Urgency) -> Announcement:
        """Keep an announcement."""
        announcement = await self._one("announce", text, level, of=Announcement)
        assert announcement is not None
        return announcement

    async def forget(self, kept: int) -> None:
        """Delete all but the newest."""
        await self._connection.execute(sql("forget_announcements"), kept)


class PostgresAnnouncements:
    """Where announcements are kept."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresAnnouncementTransaction]:
        """Begin a transaction."""
        async with self._database.transaction() as connection:
            yield PostgresAnnouncementTransaction(connection)
