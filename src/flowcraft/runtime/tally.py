"""Tally: the connections of each address and of each viewer, up to a limit."""

from __future__ import annotations

from collections import Counter
from typing import Generic, TypeVar

T = TypeVar("T")


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


class Present(Generic[T]):
    """The connections of each viewer, up to a limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._of: dict[str, dict[T, None]] = {}

    def __len__(self) -> int:
        return len(self._of)

    def of(self, viewer: str | None) -> tuple[T, ...]:
        """Return the connections of a viewer; without one, those of all viewers."""
        if viewer is None:
            return tuple([one for ones in self._of.values() for one in ones])
        return tuple(self._of.get(viewer, ()))

    def enter(self, viewer: str, one: T) -> bool:
        """Add a connection; return False where there is no place."""
        if len(self._of.get(viewer, ())) >= self.limit:
            return False
        self._of.setdefault(viewer, {})[one] = None
        return True

    def leave(self, viewer: str, one: T) -> None:
        """Remove a connection."""
        ones = self._of.get(viewer, {})
        ones.pop(one, None)
        if not ones:
            self._of.pop(viewer, None)
