"""Lifespan: start and stop with an application, or in its place if it does not support the ASGI lifespan.

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
    """The lifespan of one application and of the node beside it.

    `start` is awaited after the application's startup, before the server receives `startup.complete`. `stop`
    is awaited before the application's shutdown: clients are drained while it can still answer them.
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
        self._stop_once = stop
        self._stopped = False
        self._asked = self._answered = False

    async def run(self, app: AsgiApp | None, scope: Scope) -> None:
        """Pass the lifespan on, and return once the server has received `shutdown.complete`."""
        try:
            if app is None or not await self._run_app(app, scope):
                await self._run_alone()
        finally:
            if not self._stopped:  # Hypercorn cancels what goes on after `shutdown.complete`
                await asyncio.shield(self._stop())

    async def _stop(self) -> None:
        self._stopped = True
        await self._stop_once()

    async def _run_app(self, app: AsgiApp, scope: Scope) -> bool:
        """Pass the lifespan on to an application; return whether it supports it."""
        try:
            await app(scope, self._receive_and_stop, self._start_and_send)
        except Exception as error:
            if self._answered:
                raise
            # The specification has an application without a lifespan raise an exception. Django does.
            logger.info("the application does not support lifespan (%s); served without it", error)
        return self._answered

    async def _receive_and_stop(self) -> MutableMapping[str, Any]:
        message = await self._receive()
        if message["type"] == "lifespan.shutdown":
            await self._stop()
        self._asked = True
        return message

    async def _start_and_send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "lifespan.startup.complete":
            await self._start()
        self._answered = True
        await self._send(message)

    async def _run_alone(self) -> None:
        if not self._asked:
            await self._receive()
        try:
            await self._start()
        except Exception as error:  # noqa: BLE001  # the server logs it, and ends
            await self._send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await self._send({"type": "lifespan.startup.complete"})
        await self._receive()
        await self._stop()
        await self._send({"type": "lifespan.shutdown.complete"})
