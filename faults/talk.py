"""Talk: a bare connection to a server, for frames that no correct client sends."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect


class Talk:
    """Sends frames, and reads answers."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ref = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, address: str) -> AsyncIterator[Talk]:
        """Connect, and read the greeting."""
        async with connect(address, max_size=None, ping_interval=None) as socket:
            talk = cls(socket)
            await talk.read()
            yield talk

    async def read(self) -> dict[str, Any]:
        """The next frame."""
        return dict(json.loads(await self._socket.recv()))

    async def send(self, frame: object) -> None:
        """Send a frame."""
        await self._socket.send(json.dumps(frame))

    async def resume(self, channel: str, since: str) -> tuple[str | None, list[int]]:
        """Subscribe after a cursor: the reason of the reset, if it is one, and the ids that were replayed."""
        self._ref += 1
        await self.send({"subscribe": [channel], "since": since, "ref": self._ref})
        replayed: list[int] = []
        while True:
            frame = await self.read()
            if "id" in frame:
                replayed.append(frame["id"])
            elif "n" in frame and "subscribed" not in frame:
                replayed.clear()
            elif frame.get("ref") == self._ref:
                await self.send({"unsubscribe": [channel]})
                return frame.get("reason"), replayed
