"""Counts: what a node counts and times while it delivers events."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias, get_args

from flowcraft.cursors import ResetReason
from flowcraft.records import Batch, LoggedResetReason

Refusal: TypeAlias = Literal["token", "origin", "guard"]
"""What a server refuses a client by."""
Failure: TypeAlias = Literal[
    "relay", "replay", "delivery", "connection", "telemetry", "event", "state", "presence"
]
"""The kinds of work in which one item may fail alone; `event` is an event of the log that cannot be read."""

_RESETS = (*get_args(ResetReason), *get_args(LoggedResetReason))
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of histogram buckets in seconds: from a tenth of the usual delay to far beyond any."""


def is_notable(count: int) -> bool:
    """Return whether a server warns of its refusal of that number: of 1, 2, 4, 8 and so on.

    Most applications log warnings only: a refused login must leave a trace there, and a flood must not fill
    it.
    """
    return count & (count - 1) == 0


@dataclass(slots=True)
class Histogram:
    """Durations by bucket. `buckets` has one more than `BOUNDS`, for longer durations."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        """Count a duration that occurred `times` times."""
        self.buckets[bisect_left(BOUNDS, seconds)] += times
        self.seconds += seconds * times


@dataclass(slots=True)
class Counts:
    """Counters of one node. They only grow, until the process ends."""

    slow_closes: int = 0
    """Connections closed with 4408: the client read too slowly."""
    dead_closes: int = 0
    """Connections closed with 4409: the client did not answer a ping."""
    refused: int = 0
    """Requests answered with 503."""
    connections: int = 0
    """Connections accepted."""
    reads: int = 0
    """Reads of the log by the relay."""
    events: int = 0
    """Events that the relay read."""
    resumes: int = 0
    """Subscriptions with a cursor."""
    replay_reads: int = 0
    """Reads of the log for replays."""
    replays_from_log: int = 0
    """Replays answered from reads of the log."""
    replays_from_memory: int = 0
    """Replays answered without a read."""
    state_reads: int = 0
    """Reads of the rows of a channel."""
    states: int = 0
    """Subscriptions answered with the rows of their channel."""
    member_writes: int = 0
    """Members written, because they came, changed or left."""
    resets: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_RESETS, 0))
    """Resets by reason."""
    refusals: dict[str, int] = field(default_factory=lambda: dict.fromkeys(get_args(Refusal), 0))
    """Tokens, origins and subscriptions that were refused."""
    skipped: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    """Records of the log that no client receives as events, by declared channel and reason."""
    failures: dict[str, int] = field(default_factory=lambda: dict.fromkeys(get_args(Failure), 0))
    """Items that failed, by kind of work."""
    live: int = 0
    """Live events delivered, once for each recipient."""
    replayed: int = 0
    """Replayed events delivered."""
    ephemeral: int = 0
    """Ephemeral events delivered, once for each recipient."""
    sent_bytes: int = 0
    """Bytes of messages delivered, without the carrier's framing."""
    commit_delay: Histogram = field(default_factory=Histogram)
    """From the commit of an event until it has been sent to its last recipient; see `CommitDelay`."""
    loop_delay: Histogram = field(default_factory=Histogram)
    """How late the event loop runs the timer of the outbox sweep."""


class CommitDelay:
    """The longest time between the commit of an event and the read that returned it.

    PostgreSQL does not store when a transaction committed; two lower bounds are known. The commit was not
    before the event was written, and not before the last read, which did not see it. So the result is never
    too short. It is too long by the shorter of two times: the rest of the transaction after the event, and
    the pause between two reads. All times are of the database's clock.
    """

    def __init__(self) -> None:
        self._last: datetime | None = None

    def begin(self, start: Batch) -> None:
        """Start from a position that does not continue the last one."""
        self._last = start.at

    def of(self, batch: Batch) -> float:
        """Return the seconds for the oldest event of the next batch."""
        known = [at for at in (self._last, batch.oldest) if at is not None]
        self._last = batch.at
        # Not negative: a commit between the time of a read and its snapshot is in that read.
        return max(0.0, (batch.at - max(known)).total_seconds()) if known else 0.0
