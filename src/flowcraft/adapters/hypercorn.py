"""Hypercorn: learn that it stops. Its workers get no signal, and its lifespan ends after its connections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class HypercornWorker:
    """A worker of Hypercorn. It has no interface for this, so every use of its internals is checked."""

    terminated: object
    """Its event, which is set when it begins to stop."""
    wait: Callable[[], Awaitable[object]]
    graceful_seconds: float
    """It cancels the connections that are left after this time."""

    @classmethod
    def find(cls, send: object) -> HypercornWorker | None:
        """Return the worker that runs the current task; None in another server."""
        for stream in _candidates(send):
            context, config = getattr(stream, "context", None), getattr(stream, "config", None)
            terminated = getattr(context, "terminated", None)
            wait: Any = getattr(terminated, "wait", None)
            seconds = getattr(config, "graceful_timeout", None)
            if wait is not None and isinstance(seconds, int | float):
                return cls(terminated, wait, seconds)
        return None


def _candidates(send: object) -> Iterator[Any]:
    """Yield what may be Hypercorn's stream: the owner of `send`, or of the one its task was started with."""
    yield getattr(send, "__self__", None)
    task = asyncio.current_task()
    frame = None if task is None else getattr(task.get_coro(), "cr_frame", None)
    if frame is not None:
        yield getattr(frame.f_locals.get("send"), "__self__", None)
