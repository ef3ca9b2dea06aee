"""The supervisor: owns every task of a node, restarts those that must live, and awaits them all."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field

from flowcraft.core.report import TaskReport
from flowcraft.runtime.isolation import is_stopping

logger = logging.getLogger(__name__)

FIRST_BACKOFF_SECONDS = 0.05
LONGEST_BACKOFF_SECONDS = 1.0
WELL_SECONDS = 5.0
"""A task that has run for this long since its last failure works again, whatever it does."""


class Backoff:
    """Pauses between attempts: full jitter below a bound that doubles, up to a second."""

    def __init__(self) -> None:
        self.bound = FIRST_BACKOFF_SECONDS

    def reset(self) -> None:
        """Begin anew: the last attempt went well."""
        self.bound = FIRST_BACKOFF_SECONDS

    def draw(self) -> float:
        """Return how long to wait before the next attempt."""
        bound, self.bound = self.bound, min(2 * self.bound, LONGEST_BACKOFF_SECONDS)
        return random.uniform(0, bound)  # noqa: S311  # jitter, not a secret


@dataclass(slots=True)
class TaskState:
    """How one kept task is doing."""

    name: str
    running: bool = True
    since: float = 0.0
    restarts: int = 0
    last_error: str | None = None
    backoff: Backoff = field(default_factory=Backoff)

    def recovered(self) -> None:
        self.last_error = None
        self.backoff.reset()


class Supervisor:
    """Starts tasks and awaits them; nothing is fired and forgotten."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._states: dict[str, TaskState] = {}

    def keep(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run something for as long as the node lives; if it fails, report it, wait with jitter, restart.

        Raises:
            ValueError: a task of this name is kept already.
        """
        if name in self._states:
            raise ValueError(f"a task {name!r} is kept already; give this one another name")
        state = self._states[name] = TaskState(name)
        self.spawn(self._keep(state, run), name)

    def spawn(self, work: Coroutine[object, object, None], name: str) -> Callable[[], object]:
        """Run something that ends by itself, and report its failure; return the function that cancels it."""
        task = asyncio.create_task(self._report(work, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # A task that is cancelled before its first step leaves its work unawaited, which Python warns about.
        task.add_done_callback(lambda _: work.close())
        return task.cancel

    def recovered(self, name: str) -> None:
        """Note that a kept task works again; what runs for a while has, even if nobody says so."""
        self._states[name].recovered()

    def report(self) -> dict[str, TaskReport]:
        """Return how each kept task is doing."""
        now = asyncio.get_running_loop().time()
        return {
            state.name: TaskReport(
                "running" if state.running else "backing off",
                round(now - state.since, 1),
                state.restarts,
                state.last_error,
            )
            for state in self._states.values()
        }

    async def stop(self) -> None:
        """Cancel every task and wait until each has cleaned up."""
        while self._tasks:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self, state: TaskState, run: Callable[[], Awaitable[None]]) -> None:
        while True:
            state.last_error = await self._attempt(state, run)
            pause = state.backoff.draw()
            logger.warning("%s stopped (%s); restarting in %.2f s", state.name, state.last_error, pause)
            await asyncio.sleep(pause)
            state.restarts += 1

    async def _attempt(self, state: TaskState, run: Callable[[], Awaitable[None]]) -> str:
        """Run until it ends; return why."""
        loop = asyncio.get_running_loop()
        began = state.since = loop.time()
        state.running = True
        well = loop.call_later(WELL_SECONDS, state.recovered)
        try:
            await run()
        except asyncio.CancelledError:
            if is_stopping():
                raise
            return "CancelledError: something that it waited for was cancelled"
        except Exception as error:  # noqa: BLE001  # a task ends here: reported, restarted
            return f"{type(error).__name__}: {error}"
        else:
            return "ended"
        finally:
            well.cancel()
            state.running = False
            state.since = loop.time()
            if state.since - began > LONGEST_BACKOFF_SECONDS:
                # What failed only after a while, a connection attempt that timed out among them, has waited.
                state.backoff.reset()

    async def _report(self, work: Coroutine[object, object, None], name: str) -> None:
        try:
            await work
        except asyncio.CancelledError:
            if is_stopping():
                raise
            logger.exception("%s failed: something that it waited for was cancelled", name)
        except Exception:
            logger.exception("%s failed", name)
