"""The channels that browsers subscribe to."""

from __future__ import annotations

from flowcraft import Channels, Event, Realtime, Table


class ItemUpdate(Event):
    """How many are left."""

    item_id: int
    stock: int


channels = Channels()
item_update = channels.declare("item_update", ItemUpdate, source=Table("items", item_id="id"))
realtime = Realtime(channels)
