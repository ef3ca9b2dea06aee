"""The supervisor: owns every task of a node, restarts those that must live, and awaits them all."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass

logger = logging.getLogger("flowcraft")

FIRST_BACKOFF_SECONDS = 0.05
LONGEST_BACKOFF_SECONDS = 2.0


@dataclass(slots=True)
class TaskState:
    """How one supervised task is doing; shown by `/readyz`."""

    name: str
    restarts: int = 0
    last_error: str | None = None


class Supervisor:
    """Starts tasks and awaits them; nothing is fired and forgotten."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self.states: dict[str, TaskState] = {}

    def keep(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run something for as long as the node lives; if it fails, report it, wait with jitter, restart."""
        state = self.states[name] = TaskState(name)
        self.spawn(self._keep(state, run), name)

    def spawn(self, work: Coroutine[object, object, None], name: str) -> None:
        """Run something that ends by itself; its failure is reported."""
        task = asyncio.create_task(self._report(work, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def recovered(self, name: str) -> None:
        """Note that a kept task works again."""
        self.states[name].last_error = None

    async def stop(self) -> None:
        """Cancel every task and wait until each has cleaned up."""
        while self._tasks:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self, state: TaskState, run: Callable[[], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            started = loop.time()
            try:
                await run()
                state.last_error = "ended"
            except Exception as error:  # noqa: BLE001  # a task ends here: reported below, restarted
                state.last_error = f"{type(error).__name__}: {error}"
            if loop.time() - started > LONGEST_BACKOFF_SECONDS:
                backoff = FIRST_BACKOFF_SECONDS
            state.restarts += 1
            logger.warning("%s stopped (%s); restarting within %.2f s", state.name, state.last_error, backoff)
            await asyncio.sleep(random.uniform(0, backoff))  # noqa: S311  # jitter, not a secret
            backoff = min(2 * backoff, LONGEST_BACKOFF_SECONDS)

    async def _report(self, work: Coroutine[object, object, None], name: str) -> None:
        try:
            await work
        except Exception:
            logger.exception("%s failed", name)
