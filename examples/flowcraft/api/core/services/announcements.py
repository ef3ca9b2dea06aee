"""Announcements to everybody who uses the product."""

from __future__ import annotations

from uuid import UUID

import msgspec

from examples.flowcraft.api.core.domain.events import Urgency
from examples.flowcraft.api.core.ports import AnnouncementRepository

KEPT = 20


class Announced(msgspec.Struct, frozen=True):
    """An announcement that was made, and the transaction that made it."""

    announcement_id: UUID
    xid: str


class AnnouncementService:
    """Makes announcements. It needs no RealtimeService: `announcement_rows` are the table."""

    def __init__(self, announcements: AnnouncementRepository) -> None:
        self._announcements = announcements

    async def announce(self, text: str, level: Urgency) -> Announced:
        """Announce to all users; only the newest announcements are kept."""
        async with self._announcements.transaction() as tx:
            announcement = await tx.add(text, level)
            await tx.forget(KEPT)
            return Announced(announcement.announcement_id, await tx.xid())
