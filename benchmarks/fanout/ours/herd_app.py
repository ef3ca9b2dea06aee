"""What `flowcraft serve` serves to a herd: a table of rows, and a channel of events beside it."""

from __future__ import annotations

from flowcraft import Channels, Event, Realtime, Settings

TABLES = "create table items (id int primary key, text text not null)"


class Item(Event):
    """A row."""

    id: int
    text: str


class BenchUpdate(Event):
    """When an event was sent."""

    sent: float


channels = Channels()
channels.rows("item_rows", Item, table="items", key="id")
channels.declare("bench_update", BenchUpdate)

realtime = Realtime(
    channels,
    settings=Settings(any_origin=True, connections=1_000_000, connections_per_address=1_000_000),
)
