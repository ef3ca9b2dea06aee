"""Supervisor: own every task of a node, restart those that must keep running, and await them all."""

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
"""After a fail-over the log is read again at most this late."""
STOP_SECONDS = 5.0
"""A task that has not ended so long after its cancellation is cancelled again, and named."""
WELL_SECONDS = 5.0
"""A task that has run this long since its last failure counts as working: its error leaves `/readyz`."""


class Backoff:
    """Pauses between attempts: full jitter below a bound that doubles, up to a second."""

    def __init__(self) -> None:
        self.bound = FIRST_BACKOFF_SECONDS

    def reset(self) -> None:
        """Start again from the shortest bound: the last attempt succeeded."""
        self.bound = FIRST_BACKOFF_SECONDS

    def draw(self) -> float:
        """Return how long to wait before the next attempt."""
        bound, self.bound = self.bound, min(2 * self.bound, LONGEST_BACKOFF_SECONDS)
        return random.uniform(0, bound)  # noqa: S311  # jitter, not a secret


@dataclass(slots=True)
class TaskState:
    """The state of one kept task."""

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
        """Run a task for as long as the node; if it ends, report it, wait with jitter and restart it.

        Raises:
            ValueError: a task of this name is kept already.
        """
        if name in self._states:
            raise ValueError(f"a task {name!r} is kept already; give this one another name")
        state = self._states[name] = TaskState(name)
        self.spawn(self._keep(state, run), name)

    def spawn(self, work: Coroutine[object, object, None], name: str) -> Callable[[], object]:
        """Run a task that ends by itself, and report its failure; return the function that cancels it."""
        task = asyncio.create_task(self._report(work, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # A task that is cancelled before its first step never awaits its coroutine, which Python warns about.
        task.add_done_callback(lambda _: work.close())
        return task.cancel

    def recovered(self, name: str) -> None:
        """Note that a kept task works again; after `WELL_SECONDS` of running that is assumed."""
        self._states[name].recovered()

    def report(self) -> dict[str, TaskReport]:
        """Return the report of each kept task."""
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
        """Cancel every task and wait until each has cleaned up.

        A library may swallow a cancellation, as `asyncio.wait_for` can before Python 3.12
        (https://github.com/python/cpython/issues/86296): it is sent again.
        """
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            # Not gather: if this is cancelled too, it loses whose cancellation it was.
            _, pending = await asyncio.wait(set(self._tasks), timeout=STOP_SECONDS)
            if pending:
                names = ", ".join(sorted(task.get_name() for task in pending))
                logger.warning("%s did not end within %g s; cancelled again", names, STOP_SECONDS)

    async def _keep(self, state: TaskState, run: Callable[[], Awaitable[None]]) -> None:
        while True:
            state.last_error = await self._attempt(state, run)
            pause = state.backoff.draw()
            logger.warning("%s stopped (%s); restarting in %.2f s", state.name, state.last_error, pause)
            await asyncio.sleep(pause)
            state.restarts += 1

    async def _attempt(self, state: TaskState, run: Callable[[], Awaitable[None]]) -> str:
        """Run until the task ends; return the reason."""
        loop = asyncio.get_running_loop()
        began = state.since = loop.time()
        state.running = True
        well = loop.call_later(WELL_SECONDS, state.recovered)
        try:
            await run()
        except asyncio.CancelledError:
            if is_stopping():
                raise
            return "CancelledError: an awaited task was cancelled"
        except Exception as error:  # noqa: BLE001  # a task ends here: reported, restarted
            return f"{type(error).__name__}: {error}"
        else:
            return "ended"
        finally:
            well.cancel()
            state.running = False
            state.since = loop.time()
            if state.since - began > LONGEST_BACKOFF_SECONDS:
                # An attempt that failed only after a while, such as a connection that timed out, was a pause.
                state.backoff.reset()

    async def _report(self, work: Coroutine[object, object, None], name: str) -> None:
        try:
            await work
        except asyncio.CancelledError:
            if is_stopping():
                raise
            logger.exception("%s failed: an awaited task was cancelled", name)
        except Exception:
            logger.exception("%s failed", name)
