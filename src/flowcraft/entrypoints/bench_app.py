"""The application that `flowcraft bench` serves, on the database that FLOWCRAFT_DSN names."""

from __future__ import annotations

from flowcraft.channels import Channels
from flowcraft.entrypoints.realtime import Realtime
from flowcraft.events import Event
from flowcraft.settings import Settings

CHANNEL = "flowcraft_bench_update"


class Bench(Event):
    """An event of typical size."""

    pad: str


channels = Channels()
channels.declare(CHANNEL, Bench)
realtime = Realtime(channels, settings=Settings(connections=1_000_000))
