"""What `flowcraft bench` serves, on a database that it is told by FLOWCRAFT_DSN."""

from __future__ import annotations

from flowcraft.channels import Channels
from flowcraft.entrypoints.compose import Realtime
from flowcraft.events import Event
from flowcraft.settings import Settings

CHANNEL = "flowcraft_bench_update"


class Bench(Event):
    """Something of the length of a usual event."""

    pad: str


channels = Channels()
channels.declare(CHANNEL, Bench)
realtime = Realtime(channels, settings=Settings(connections=1_000_000))
