"""A mailbox: what waits to be written to one client, bounded in bytes."""

from __future__ import annotations

from collections import deque

from flowcraft.core.frames import Bundle


class Mailbox:
    """The queue between the hub and a connection that cannot be written to at once.

    A bundle is refused once more than `limit_bytes` wait; the connection is then to be closed, and its client
    resumes from its cursor: slow is never lost. Bundles are shared, so this counts what waits, not what is
    held.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._bundles: deque[Bundle] = deque()
        self._waiting = 0

    def __len__(self) -> int:
        return len(self._bundles)

    @property
    def waiting_bytes(self) -> int:
        """Bytes that have been put and not been taken."""
        return self._waiting

    def put(self, bundle: Bundle) -> bool:
        """Append a bundle; False, and nothing appended, if the mailbox is over its limit already."""
        if self._waiting > self._limit:
            return False
        self._bundles.append(bundle)
        self._waiting += bundle.size
        return True

    def take(self) -> Bundle | None:
        """Remove and return the oldest bundle."""
        if not self._bundles:
            return None
        bundle = self._bundles.popleft()
        self._waiting -= bundle.size
        return bundle

    def clear(self) -> None:
        """Drop everything: the connection is gone."""
        self._bundles.clear()
        self._waiting = 0
