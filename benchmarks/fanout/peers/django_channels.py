"""Django Channels on uvicorn with its layer in memory: a group, and `group_send`."""

from __future__ import annotations

from typing import Any

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="benchmark",
    CHANNEL_LAYERS={
        "default": {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": 10_000}}
    },
)
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.layers import get_channel_layer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import re_path  # noqa: E402

from benchmarks.fanout.control import message  # noqa: E402
from benchmarks.fanout.on_uvicorn import serve  # noqa: E402


class Consumer(AsyncWebsocketConsumer):
    """A member of the group for as long as its connection lasts."""

    async def connect(self) -> None:
        await self.channel_layer.group_add("bench", self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:  # noqa: ARG002  # its caller names it
        await self.channel_layer.group_discard("bench", self.channel_name)

    async def bench_update(self, event: dict[str, Any]) -> None:
        """Pass on what the group is sent."""
        await self.send(text_data=event["text"])


async def go(count: int) -> None:
    """Send so many messages to everybody."""
    layer = get_channel_layer()
    for number in range(count):
        await layer.group_send("bench", {"type": "bench.update", "text": message(number)})


if __name__ == "__main__":
    import uvloop

    app = ProtocolTypeRouter({"websocket": URLRouter([re_path("", Consumer.as_asgi())])})
    uvloop.run(serve(app, go))
