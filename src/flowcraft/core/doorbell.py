"""The doorbell: who must ring when, so that a reader sleeps soundly and a busy database is spared the bell.

A NOTIFY takes a lock of the whole database while its transaction commits, so writers must not ring on
every commit. A reader that is busy anyway *holds a lock* and keeps reading. A writer inserts its events, so
that its transaction has an id, and then looks at the lock: held, somebody will come by; free, it rings, and
PostgreSQL delivers the ring when the transaction commits.

A reader that lets go of the lock may not sleep at once: a writer that found the lock held may not have
committed yet, and will not ring. All such writers had their transaction id when they looked. So the reader
unlocks, *then* draws a new transaction id for itself, the mark: every such writer has a smaller one. It reads
on until nothing below the mark is running any more, and sleeps. A reader that has just arrived does the same,
so that writers need not ring at all while nobody is there.

The mark must be a new id. The `xmax` of a snapshot looks like one and is not: it is one above the newest
transaction that has *finished*, and a writer that looked at the lock may have just that id, or a greater one.

                  took the lock                    nothing new for a while: unlock
    asleep ---------------------------> awake ----------------------------------> letting go, no mark yet
      |  ^                                ^                                           |
      |  | nothing below it runs          | took the lock                             | drew the mark
      |  +----------------------------- letting go <----------------------------------+
      | somebody else has the lock
      +---------> standby

A new connection begins as letting go without a mark: who held the lock before is unknown. With several
readers the one that holds the lock rings the others. Whatever goes wrong, everybody reads once per safety
interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, assert_never

from flowcraft.cursors import Snapshot

BUSY_WAIT_SECONDS = 0.005
"""A reader that waits no longer than this for the next event is busy."""
BUSY_READS = 4
"""It takes the lock after this many such reads in a row."""
LINGER_SECONDS = 0.010
"""It lets go after this long without an event."""
POLL_SECONDS = 0.001
"""It pauses this long between two reads while it holds the lock."""
TELL_SECONDS = 0.002
"""It rings the other readers no more often than this."""
LONGEST_PAUSE_SECONDS = 0.050
"""It looks this often for a transaction that was running when it let go."""
RETRY_SECONDS = 0.050
"""It tries no sooner again for a lock that somebody else has."""


@dataclass(frozen=True, slots=True)
class Asleep:
    """Nobody holds the lock for us: every writer rings."""


@dataclass(frozen=True, slots=True)
class Standby:
    """Somebody else held the lock when we wanted it: its holder rings us, or the writers do."""


@dataclass(frozen=True, slots=True)
class Awake:
    """We hold the lock: nobody rings, and we keep reading."""


@dataclass(frozen=True, slots=True)
class LettingGo:
    """The lock is free again, but writers below the mark may have seen it held. `None`: not drawn yet."""

    mark: int | None


State: TypeAlias = Asleep | Standby | Awake | LettingGo


@dataclass(frozen=True, slots=True)
class TryLock:
    """Take the lock if it is free; answer with `lock_tried`."""


@dataclass(frozen=True, slots=True)
class Unlock:
    """Give the lock back; answer with `unlocked`."""


@dataclass(frozen=True, slots=True)
class DrawMark:
    """Draw a new transaction id; answer with `marked`."""


@dataclass(frozen=True, slots=True)
class RingOthers:
    """Ring the other readers, if there are any; answer with `told`."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Wait for a ring, but no longer than this; then read, and `observe` what was read."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Read:
    """Read at once, and `observe` what was read."""


Step: TypeAlias = TryLock | Unlock | DrawMark | RingOthers | Rest | Read


class Doorbell:
    """One reader's side of the doorbell. Each input answers with what to do next."""

    def __init__(self, *, safety_seconds: float = 1.0) -> None:
        self.state: State = LettingGo(None)
        self._safety_seconds = safety_seconds
        self._seen = Snapshot(0)
        self._last_event = float("-inf")
        self._busy_reads = 0
        self._busy = False
        self._retry_at = float("-inf")
        self._untold = False
        self._told_at = float("-inf")
        self._pause = POLL_SECONDS

    def observe(self, seen: Snapshot, records: int, *, waited: float, now: float) -> Step:
        """Take note of a read, and of the time that the reader rested before it."""
        self._seen = seen
        if records:
            self._busy_reads = self._busy_reads + 1 if waited < BUSY_WAIT_SECONDS else 0
            self._last_event = now
            self._untold = isinstance(self.state, Awake | LettingGo)
        self._busy = records > 0 and self._busy_reads >= BUSY_READS
        return self._next(now)

    def lock_tried(self, *, taken: bool, now: float) -> Step:
        """Take note of whether the lock is ours."""
        if taken:
            self.state = Awake()
            return Read()
        self._retry_at = now + RETRY_SECONDS
        if isinstance(self.state, Asleep):
            self.state = Standby()
        return self._next(now)

    def unlocked(self) -> Step:
        """Take note that the lock is free."""
        self.state = LettingGo(None)
        return DrawMark()

    def marked(self, mark: int) -> Step:
        """Take note of the id that every writer that saw our lock is below."""
        self.state = LettingGo(mark)
        self._pause = POLL_SECONDS
        return Read()

    def told(self, now: float) -> Step:
        """Take note that the other readers have been rung."""
        self._untold = False
        self._told_at = now
        return self._next(now)

    def lost(self) -> None:
        """Take note that the connection is gone, and with it the lock and any ring since."""
        self.state = LettingGo(None)

    def _next(self, now: float) -> Step:
        if self._untold and (not isinstance(self.state, Awake) or now - self._told_at >= TELL_SECONDS):
            return RingOthers()
        match self.state:
            case Awake():
                return self._stay_awake(now)
            case LettingGo(mark):
                if mark is None:
                    return DrawMark()
                if self._seen.xmin < mark:
                    return self._take_lock(now) or self._pause_for_the_unfinished()
                self.state = Asleep()
            case Asleep() | Standby():
                pass
            case _ as never:
                assert_never(never)
        return self._take_lock(now) or Rest(self._safety_seconds)

    def _stay_awake(self, now: float) -> Step:
        if now - self._last_event < LINGER_SECONDS:
            return Rest(POLL_SECONDS)
        return RingOthers() if self._untold else Unlock()

    def _take_lock(self, now: float) -> Step | None:
        return TryLock() if self._busy and now >= self._retry_at else None

    def _pause_for_the_unfinished(self) -> Step:
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        return Rest(pause)
