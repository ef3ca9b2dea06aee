"""Tally: count the connections of each address or viewer, up to a limit."""

from __future__ import annotations

from collections import Counter


class Tally:
    """Counts by key. An empty key is of an unknown address: it has no limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._counts)

    def is_full(self, key: str) -> bool:
        """Return whether there is no place for one more."""
        return bool(key) and self._counts.get(key, 0) >= self.limit

    def enter(self, key: str) -> bool:
        """Count one more; return False, and count nothing, where there is no place."""
        if self.is_full(key):
            return False
        self._counts[key] += 1
        return True

    def leave(self, key: str) -> None:
        """Count one less."""
        self._counts[key] -= 1
        if self._counts[key] <= 0:
            del self._counts[key]
