"""First reader: which of several readers the writers notify; that one notifies the others after its read.

A NOTIFY that wakes eight readers at once has the next writer wait for eight reads of the log. So the reader
that holds a lock, the first, listens to the writers, and the others stop to listen to them once a reader has
notified them: then there is a first, or a leader (`wakeup.py`). They listen to the writers again when they
find records that no reader notified them of, such as those of a first that hangs, and try the lock now and
then, for a first that has ended. A reader that is far from the database does not become the first. Where
there are few, all listen to the writers: the second of two would be 0.6 ms later, for 0.1 ms of a commit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

RETRY_SECONDS = 1.0
"""How often readers are counted, and the lock is tried; a read takes place as often: see `safety_seconds`."""
MANY_READERS = 5
"""Of as many, one is the first. Beside 8 a commit takes 1.1 ms instead of 2.9, and a reader is 3 ms later."""


@dataclass(frozen=True, slots=True)
class CountReaders:
    """Count the readers; answer with `counted`."""


@dataclass(frozen=True, slots=True)
class TryFirst:
    """Take the lock of the first reader if it is free; answer with `tried`."""


@dataclass(frozen=True, slots=True)
class LeaveFirst:
    """Release the lock, and notify the others; answer with `left`."""


@dataclass(frozen=True, slots=True)
class ListenToWriters:
    """Begin or cease to listen to the writers; answer with `listening`."""

    begins: bool


FirstStep: TypeAlias = CountReaders | TryFirst | LeaveFirst | ListenToWriters


class FirstReader:
    """One reader's side, for one connection, which begins by listening to the writers."""

    def __init__(self) -> None:
        self.is_first = False
        self.listens_to_writers = True
        self._is_notified = False
        """Whether another reader notifies this one of what it reads."""
        self._by_reader = False
        self._must_notify = False
        self._readers = 0
        self._counted_at = self._tried_at = float("-inf")

    def notified(self, *, by_writer: bool) -> None:
        """Take a notification."""
        if not by_writer:
            self._is_notified = self._by_reader = True
        elif self.is_first:
            self._must_notify = True

    def observe(self, records: int, *, timed_out: bool) -> None:
        """Take the result of a read; `timed_out`: no notification began it, but the time since the last."""
        if records and timed_out:
            self._is_notified = False
        if self._by_reader and not records:  # perhaps the first has left
            self._counted_at = self._tried_at = float("-inf")
        self._by_reader = False

    def must_notify(self) -> bool:
        """Return whether the others must be notified of a read that a writer's notification began."""
        owed, self._must_notify = self._must_notify, False
        return owed

    def next(self, now: float, *, is_far: bool) -> FirstStep | None:
        """Return the next step; None if there is none."""
        if now - self._counted_at >= RETRY_SECONDS:
            return CountReaders()
        is_apart = is_far or self._readers < MANY_READERS
        if self.is_first and is_apart:
            return LeaveFirst()
        if not self.is_first and not is_apart and now - self._tried_at >= RETRY_SECONDS:
            return TryFirst()
        listens = self.is_first or is_apart or not self._is_notified
        return None if listens == self.listens_to_writers else ListenToWriters(listens)

    def counted(self, now: float, readers: int) -> None:
        """Take the answer to `CountReaders`."""
        self._readers, self._counted_at = readers, now

    def tried(self, now: float, *, taken: bool) -> None:
        """Take the answer to `TryFirst`."""
        self.is_first, self._tried_at = taken, now

    def left(self) -> None:
        """Take the answer to `LeaveFirst`."""
        self.is_first = self._must_notify = False

    def listening(self, *, begins: bool) -> None:
        """Take the answer to `ListenToWriters`. What was committed before has notified no reader, perhaps."""
        self.listens_to_writers = begins
        self._must_notify = self.is_first and begins
