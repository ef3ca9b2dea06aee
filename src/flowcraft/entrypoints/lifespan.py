"""Lifespan: start and stop with an application, or in its place if it knows no lifespan.

The protocol: https://asgi.readthedocs.io/en/latest/specs/lifespan.html.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from flowcraft.adapters.asgi import AsgiApp, Receive, Scope, Send

logger = logging.getLogger(__name__)


class Lifespan:
    """One application's: `start` is awaited before the server hears that it has started, after its own start.

    `stop` is awaited before its own end: clients are sent away while it can still answer them.
    """

    def __init__(
        self,
        receive: Receive,
        send: Send,
        *,
        start: Callable[[], Awaitable[object]],
        stop: Callable[[], Awaitable[object]],
    ) -> None:
        self._receive = receive
        self._send = send
        self._start = start
        self._stop = stop
        self._asked = self._answered = False

    async def run(self, app: AsgiApp | None, scope: Scope) -> None:
        """Return when the server has been told that all has ended."""
        try:
            if app is None or not await self._lives(app, scope):
                await self._live()
        finally:
            await asyncio.shield(self._stop())

    async def _lives(self, app: AsgiApp, scope: Scope) -> bool:
        """Pass everything on to an application; tell whether it answered."""
        try:
            await app(scope, self._hear, self._tell)
        except Exception as error:
            if self._answered:
                raise
            # What the specification has it do if it knows no lifespan. Django does.
            logger.info("the application has no lifespan (%s); it is served without", error)
        return self._answered

    async def _hear(self) -> MutableMapping[str, Any]:
        message = await self._receive()
        if message["type"] == "lifespan.shutdown":
            await self._stop()
        self._asked = True
        return message

    async def _tell(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "lifespan.startup.complete":
            await self._start()
        self._answered = True
        await self._send(message)

    async def _live(self) -> None:
        if not self._asked:
            await self._receive()
        try:
            await self._start()
        except Exception as error:  # noqa: BLE001  # the server tells it, and ends
            await self._send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await self._send({"type": "lifespan.startup.complete"})
        await self._receive()
        await self._stop()
        await self._send({"type": "lifespan.shutdown.complete"})
