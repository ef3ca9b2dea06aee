"""States: the rows of a channel at a cursor, and the requests that wait for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowcraft.cursors import Cursor

if TYPE_CHECKING:
    from flowcraft.core.bundles import Bundle


@dataclass(frozen=True, slots=True, eq=False)
class StateRequest:
    """A subscription that waits until the rows of its channel have been read."""

    session: int
    channel: str
    ref: int | None
    attempts: int = 0
    """How many states were read for it that could not be sent."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class State:
    """The rows of one channel at a cursor, encoded once for everybody who asks."""

    channel: str
    cursor: Cursor
    count: int
    """How many rows the pages have."""
    skipped: int
    """How many rows are not among them because they cannot be sent, or are counted and not listed."""
    pages: tuple[Bundle, ...]
    """Frames with the rows, about a page each; at least one."""

    @property
    def held_bytes(self) -> int:
        """The bytes in memory: the messages, and once more for each framing."""
        return sum([page.size * (1 + len(page.framed)) for page in self.pages])
