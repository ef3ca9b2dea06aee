"""Isolation: in work that many share, an item that fails is reported and counted, and the others go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from flowcraft.core.report import Counts, Failure

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Isolation:
    """Of one node. Broad `except` belongs here: what an item may raise is not known beforehand."""

    def __init__(self, counts: Counts) -> None:
        self.counts = counts

    def report(self, work: Failure, item: object, error: BaseException) -> None:
        """Count an item that failed, and log it; of many, the 1st, 2nd, 4th, 8th … with their traceback."""
        failures = self.counts.failures
        failures[work] = count = failures[work] + 1
        traceback = error if count & (count - 1) == 0 else None
        logger.error(
            "%s: %s failed (%s: %s), the others go on; %d so far",
            *(work, item, type(error).__name__, str(error)[:200], count),
            exc_info=traceback,
        )

    @contextmanager
    def guard(self, work: Failure, item: object) -> Iterator[None]:
        """Go on after the block, whatever it raises."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  # reported there
            self.report(work, item, error)

    def attempt(self, work: Failure, item: object, do: Callable[[], T]) -> T | None:
        """Return what a function returns; None if it fails."""
        try:
            return do()
        except Exception as error:  # noqa: BLE001  # reported there
            self.report(work, item, error)
            return None


def is_stopping() -> bool:
    """Return whether this task is being cancelled: a `CancelledError` may also leak out of a library."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
