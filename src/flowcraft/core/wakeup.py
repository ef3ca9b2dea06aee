"""Wakeup: decide when writers must notify: for an idle reader, and not on a busy database.

A NOTIFY takes a lock of the whole database while its transaction commits, so writers must not notify on every
commit. A busy reader *holds a lock* and keeps reading: it is the leader. A writer inserts its events, so that
its transaction has an id, and then tests the lock: if it is held the leader will read; if it is free the
writer notifies, and PostgreSQL delivers the notification when the transaction commits.

A leader that unlocks may not wait at once: a writer that found the lock held may not have committed yet, and
will not notify. All such writers had their transaction id when they tested the lock. So the reader unlocks,
*then* draws a new transaction id for itself, the mark: every such writer has a smaller one. It reads on until
nothing below the mark is running any more; then it is idle. A reader that has just connected does the same,
so that writers need not notify at all while no reader is connected.

The mark must be a new id. The `xmax` of a snapshot looks like one and is not: it is one above the newest
transaction that has *finished*, and a writer that tested the lock may have just that id, or a greater one.

                  took the lock                    nothing new for a while: unlock
    idle -----------------------------> leader ----------------------------------> releasing, no mark yet
      |  ^                                ^                                           |
      |  | nothing below it runs          | took the lock                             | drew the mark
      |  +----------------------------- releasing <-----------------------------------+
      | another reader has the lock
      +---------> follower

A new connection begins as releasing without a mark: which reader held the lock before is unknown. With
several readers the leader notifies the others; a reader that is far from the database never becomes the
leader. Whatever fails, each reader reads once per safety interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, assert_never

from flowcraft.cursors import Snapshot

BUSY_WAIT_SECONDS = 0.005
"""A reader that waits less than this for the next event is busy: 200 commits a second."""
BUSY_READS = 4
"""A reader takes the lock after this many such reads in a row: a single burst does not make a leader."""
LINGER_SECONDS = 0.010
"""A leader unlocks after this long without an event: ten of its reads."""
POLL_SECONDS = 0.001
"""A leader pauses this long between two reads: an event waits for no notification meanwhile."""
PER_RECORD_SECONDS = 0.000_03
"""A leader pauses longer by this for each record that it read."""
MANY_RECORDS, LONG_REST_SECONDS = 20, 0.006
"""A leader that read as many records, from 12,000 commits a second on, pauses as long.

A read takes 0.4 ms of two processors, however few records it finds: 8 busy writers commit a twentieth more.
"""
NOTIFY_SECONDS = 0.002
"""A leader notifies the other readers at most this often: NOTIFY takes the lock that writers avoid."""
LONGEST_PAUSE_SECONDS = 0.050
"""A releasing reader reads at least this often while a transaction below its mark runs."""
FIRST_RETRY_SECONDS, RETRY_SECONDS = 0.001, 0.050
"""A reader waits this long before it tries again for a lock that it did not get, at first and at last.

A writer may have had it, for a microsecond, or another reader, which keeps it.
"""
START_OVER_SECONDS = 1.0
"""A reader that has not tried for this long begins with the first of these times again."""
FAR_SECONDS = 0.005
"""A reader with a longer round trip to the database takes no lock: as leader it would notify the others late.

With one leader at 80 ms the 99th percentile of the others was 26 times as long.
"""


@dataclass(frozen=True, slots=True)
class Idle:
    """The lock is free as far as this reader knows: every writer notifies."""


@dataclass(frozen=True, slots=True)
class Follower:
    """Another reader held the lock when this one tried it: that leader notifies this one, or writers do."""


@dataclass(frozen=True, slots=True)
class Leader:
    """This reader holds the lock: no writer notifies, and it keeps reading."""


@dataclass(frozen=True, slots=True)
class Releasing:
    """The lock is free again, but writers below the mark may have found it held. None until it is drawn."""

    mark: int | None


State: TypeAlias = Idle | Follower | Leader | Releasing
StateWord: TypeAlias = Literal["polling", "follower", "leader", "idle"]
"""The state for operators. A reader without wakeups is `polling`; a releasing one is `leader`."""


@dataclass(frozen=True, slots=True)
class TryLock:
    """Take the lock if it is free; answer with `lock_tried`."""


@dataclass(frozen=True, slots=True)
class Unlock:
    """Release the lock; answer with `unlocked`."""


@dataclass(frozen=True, slots=True)
class DrawMark:
    """Draw a new transaction id; answer with `marked`."""


@dataclass(frozen=True, slots=True)
class NotifyOthers:
    """Notify the other readers, if there are any; answer with `notified`."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for a notification, at most this long; then read, and call `observe` with the result."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Read:
    """Read at once, and call `observe` with the result."""


Step: TypeAlias = TryLock | Unlock | DrawMark | NotifyOthers | Wait | Read


class WakeupMachine:
    """One reader's side of the protocol. Each method returns the next step."""

    def __init__(self, *, safety_seconds: float = 1.0) -> None:
        self.state: State = Releasing(None)
        self.round_trip = 0.0
        """The shortest of the last round trips to the database, in seconds, as its owner measures them."""
        self.safety_seconds = safety_seconds
        self._snapshot = Snapshot(0)
        self._last_event = float("-inf")
        self._busy_reads = 0
        self._busy = False
        self._retry, self._retry_at = FIRST_RETRY_SECONDS, float("-inf")
        self._records = 0
        self._unnotified = False
        self._notified_at = float("-inf")
        self._pause = POLL_SECONDS

    def observe(
        self, snapshot: Snapshot, records: int, *, waited: float, now: float, must_notify: bool = False
    ) -> Step:
        """Take the result of a read, and the time that the reader waited before it.

        `must_notify`: the other readers wait for this one, whichever its state (`first_reader.py`).
        """
        self._snapshot, self._records = snapshot, records
        if records:
            self._busy_reads = self._busy_reads + 1 if waited < BUSY_WAIT_SECONDS else 0
            self._last_event = now
            self._unnotified = isinstance(self.state, Leader | Releasing)
        self._unnotified |= must_notify
        self._busy = records > 0 and self._busy_reads >= BUSY_READS
        return self._next(now)

    def lock_tried(self, *, taken: bool, now: float) -> Step:
        """Take the answer to `TryLock`."""
        if taken:
            self.state = Leader()
            return Unlock() if self.is_far else Read()
        starts_over = now - self._retry_at > START_OVER_SECONDS
        self._retry = FIRST_RETRY_SECONDS if starts_over else min(2 * self._retry, RETRY_SECONDS)
        self._retry_at = now + self._retry
        if isinstance(self.state, Idle):
            self.state = Follower()
        return self._next(now)

    def unlocked(self) -> Step:
        """Take the answer to `Unlock`."""
        self.state = Releasing(None)
        return DrawMark()

    def marked(self, mark: int) -> Step:
        """Take the mark: the id of every writer that found the lock held is smaller."""
        self.state = Releasing(mark)
        self._pause = POLL_SECONDS
        return Read()

    def notified(self, now: float) -> Step:
        """Take the answer to `NotifyOthers`."""
        self._unnotified = False
        self._notified_at = now
        return self._next(now)

    def lost(self) -> None:
        """Start again: the connection is gone, and with it the lock and notifications."""
        self.state = Releasing(None)

    def _next(self, now: float) -> Step:
        is_due = not isinstance(self.state, Leader) or now - self._notified_at >= NOTIFY_SECONDS
        if self._unnotified and is_due:
            return NotifyOthers()
        match self.state:
            case Leader():
                return self._lead(now)
            case Releasing(mark):
                if mark is None:
                    return DrawMark()
                if self._snapshot.xmin < mark:
                    return self._take_lock(now) or self._wait_for_unfinished()
                self.state = Idle()
            case Idle() | Follower():
                pass
            case _ as never:
                assert_never(never)
        return self._take_lock(now) or Wait(self.safety_seconds)

    def _lead(self, now: float) -> Step:
        if self.is_far:
            return NotifyOthers() if self._unnotified else Unlock()
        if now - self._last_event < LINGER_SECONDS:
            is_loaded = self._records >= MANY_RECORDS
            return Wait(LONG_REST_SECONDS if is_loaded else POLL_SECONDS + self._records * PER_RECORD_SECONDS)
        return NotifyOthers() if self._unnotified else Unlock()

    @property
    def is_far(self) -> bool:
        """Whether the database is too far for this reader to serve the others."""
        return self.round_trip > FAR_SECONDS

    def _take_lock(self, now: float) -> Step | None:
        return TryLock() if self._busy and not self.is_far and now >= self._retry_at else None

    def _wait_for_unfinished(self) -> Step:
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        return Wait(pause)
