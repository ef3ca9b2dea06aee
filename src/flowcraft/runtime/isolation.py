"""Isolation: in shared work, report and count an item that fails, and go on with the others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from flowcraft.core.counts import Counts, Failure

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Isolation:
    """Reports the failures of one node. Broad `except` belongs here: an item may raise anything."""

    def __init__(self, counts: Counts, connections: Mapping[int, object]) -> None:
        """Report into `counts`; `connections` are the gateways by number, whose `str` names them."""
        self.counts = counts
        self._connections = connections

    def connection(self, number: int) -> str:
        """Return the number, address and viewer of a connection, for a log line."""
        found = self._connections.get(number)
        return f"connection {number} (gone)" if found is None else str(found)

    def report(self, work: Failure, item: object, error: BaseException) -> None:
        """Count and log an item that failed.

        Only the 1st, 2nd, 4th, 8th … have a traceback: thousands of items may fail alike.
        """
        failures = self.counts.failures
        failures[work] = count = failures[work] + 1
        traceback = error if count & (count - 1) == 0 else None  # a power of two
        logger.error(
            "%s: %s failed (%s: %s); others are not affected; %d failures so far",
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
    """Return whether this task is being cancelled. A `CancelledError` may also come from a library."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
