"""Pages: a replay too long to be written at once, encoded bit by bit as its client takes it."""

from __future__ import annotations

from collections.abc import Sequence

from flowcraft.core import frames
from flowcraft.core.frames import Bundle
from flowcraft.records import Record

PAGE_BYTES = 64 * 1024
_FRAME_BYTES = 64
"""About what an event's frame has around its payload."""


class Pages:
    """The events of one replay and the frame that closes it.

    Clients that catch up from the same read share its records; each has only one page of its own in memory,
    however slowly it reads. On the wire pages cannot be seen: the replay is one group.
    """

    def __init__(self, records: Sequence[Record], closing: bytes, size: int) -> None:
        self._records = records
        self._closing = closing
        self.size = size
        """About how many bytes all of it will be."""
        self._next = 0
        self.told = False
        """Whether the last page has been taken."""

    def take(self) -> Bundle:
        """Return the next page; the last one ends with the closing frame."""
        messages: list[bytes] = []
        size, first = 0, self._next
        while self._next < len(self._records) and size < PAGE_BYTES:
            messages.append(frames.event(self._records[self._next]))
            size += len(messages[-1])
            self._next += 1
        if self._next == len(self._records):
            messages.append(self._closing)
            self.told = True
        return Bundle(messages, self._next - first)


def about(records: Sequence[Record]) -> int:
    """Tell about how many bytes a replay will be."""
    return sum(len(record.payload) + _FRAME_BYTES for record in records)
