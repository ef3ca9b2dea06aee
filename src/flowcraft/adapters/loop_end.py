"""Loop end: release what belongs to an event loop before that loop closes."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable

logger = logging.getLogger(__name__)


class LoopEnd:
    """Calls a function at the end of the event loop in which `begin` was awaited.

    asyncio.run, uvicorn, anyio and pytest-asyncio cancel the tasks of their loop, then shut its asynchronous
    generators down, then close it; the generator here is one of them. Test clients have a loop for each
    client or even for each request, and notify an application of none of this.
    """

    def __init__(self, release: Callable[[], Awaitable[None]]) -> None:
        self._release: Callable[[], Awaitable[None]] | None = release
        self._generator = self._wait()

    async def begin(self) -> None:
        """Begin to wait for the end of the running loop."""
        await anext(self._generator)

    async def drop(self) -> None:
        """Call nothing any more; the function itself may do this too."""
        release, self._release = self._release, None
        if release is not None:
            await self._generator.aclose()

    async def _wait(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            release, self._release = self._release, None
            if release is not None:
                try:
                    await release()
                except Exception:
                    logger.exception("what belonged to an event loop that ends was not released")
