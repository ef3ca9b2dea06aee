"""Counts: what a node counts while it delivers events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from flowcraft.core.delays import Histogram
from flowcraft.cursors import ResetReason
from flowcraft.records import LoggedResetReason

Refusal: TypeAlias = Literal["token", "origin", "guard"]
"""What a server refuses a client by."""
Failure: TypeAlias = Literal[
    "relay", "replay", "delivery", "connection", "telemetry", "event", "state", "presence"
]
"""The kinds of work in which one item may fail alone; `event` is an event of the log that cannot be read."""

_RESETS = (*get_args(ResetReason), *get_args(LoggedResetReason))


def is_notable(count: int) -> bool:
    """Return whether a server warns of its refusal of that number: of 1, 2, 4, 8 and so on.

    Most applications log warnings only: a refused login must leave a trace there, and a flood must not fill
    it.
    """
    return count & (count - 1) == 0


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
