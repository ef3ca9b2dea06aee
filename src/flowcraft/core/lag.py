"""Lag: how long the oldest byte has waited for a client, by marks of how much had been written when."""

from __future__ import annotations

from collections import deque


class Lag:
    """Bounds a queue in age. Holds no bytes: only how many there were at each look."""

    def __init__(self, limit_seconds: float) -> None:
        self._limit = limit_seconds
        self._marks: deque[tuple[int, float]] = deque()

    def is_over(self, written: int, sent: int, now: float) -> bool:
        """Take a look; tell whether bytes of one that is too long ago have still not left."""
        while self._marks and self._marks[0][0] <= sent:
            self._marks.popleft()
        if sent < written and (not self._marks or self._marks[-1][0] < written):
            self._marks.append((written, now))
        return bool(self._marks) and now - self._marks[0][1] >= self._limit
