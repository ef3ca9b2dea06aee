"""EphemeralNotifications to everybody who uses the product."""

from __future__ import annotations

from uuid import UUID

import msgspec

from examples.flowcraft.api.core.domain import channels
from examples.flowcraft.api.core.domain.events import Announcement, Urgency
from examples.flowcraft.api.core.ports import AnnouncementRepository, RealtimeService, State

KEPT_ON_PAGES = 20


class Announced(msgspec.Struct, frozen=True):
    """An announcement that was made, and the transaction that made it."""

    announcement_id: UUID
    xid: str


class AnnouncementService:
    """Makes announcements: kept and broadcast in one transaction."""

    def __init__(self, realtime: RealtimeService, announcements: AnnouncementRepository) -> None:
        self._realtime = realtime
        self._announcements = announcements

    async def newest(self) -> State[list[Announcement]]:
        """Return the newest announcements, the newest first."""
        return await self._announcements.newest(KEPT_ON_PAGES)

    async def announce(self, text: str, level: Urgency) -> Announced:
        """Announce to all users."""
        async with self._announcements.transaction() as tx:
            announcement = await tx.add(text, level)
            await self._realtime.broadcast(channels.system, announcement, via=tx.connection)
            return Announced(announcement.announcement_id, await tx.xid())
