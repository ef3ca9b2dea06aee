"""The server under test, `tests.e2e.app:realtime`, on the database that DATABASE_URL names."""

from __future__ import annotations

import os

from flowcraft import Channels, Event, Realtime, Settings, Table


class ItemUpdate(Event):
    """A row of `items` as a commit left it."""

    item_id: int
    version: int


class AuditUpdate(Event):
    """A row of `audits` as a commit left it."""

    audit_id: int
    item_id: int


channels = Channels()
item_update = channels.declare("item_update", ItemUpdate, source=Table("items", item_id="id"))
audit_update = channels.declare("audit_update", AuditUpdate, source=Table("audits", audit_id="id"))
items = channels.declare(
    "items.{item_id}", ItemUpdate, params={"item_id": int}, source=Table("items", item_id="id")
)

# The page is served by another process, and so from another origin.
settings = Settings(any_origin=True, heartbeat_seconds=2, drain_seconds=0.5)
realtime = Realtime(channels, dsn=os.environ["DATABASE_URL"], settings=settings)
