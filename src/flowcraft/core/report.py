"""Report: the state and the counters of a node, for `/readyz`, the metrics and the tests.

It can be encoded, so that workers share their reports.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import msgspec

from flowcraft.core.counts import Counts

State: TypeAlias = Literal["starting", "live", "stale", "draining"]


@dataclass(frozen=True, slots=True)
class TaskReport:
    """The state of one supervised task, and for how long it has had that state."""

    state: Literal["running", "backing off"]
    since_seconds: float
    restarts: int
    last_error: str | None


@dataclass(frozen=True, slots=True)
class EdgeReport:
    """What an edge has received from relays."""

    fresh: bool
    """Whether a relay has proven lately that it reads the log, and that this edge receives it."""
    proof_seconds: float
    """The time since what was proven last; without a proof, since the start."""
    behind_seconds: float
    """The time since the edge had everything that it knows of: while events are missing it grows."""
    gaps: int
    """Gaps that had to be asked for."""
    asked: int
    """Reads of the log by a relay that this edge asked for, except for replays and rows."""
    rejected: int
    """Messages that were not as specified."""
    bridged: int = 0
    """Gaps and cuts for which a stream had what was missing, so that no relay was asked."""


class NodeReport(msgspec.Struct, frozen=True, kw_only=True):
    """One node at one moment. It is `ready` while it serves new connections from a log that it can read."""

    pid: int
    ready: bool
    state: State
    wakeup: str
    """The state of the wakeup: polling, follower, leader or idle."""
    connections: int
    message_connections: int = 0
    """Connections that are written to by ASGI messages, at a third of the speed of a socket."""
    fan_out: Literal["C", "Python"] = "Python"
    """What sends an event to many sockets: `flowcraft.fan_out`."""
    subscriptions: int
    subscribers: dict[str, int]
    """Subscriptions by the declared name of the channel."""
    members: int = 0
    """Members who are present through this process."""
    waiting_connections: int
    """Connections with unsent bytes."""
    outbox_bytes: int
    """Bytes that wait for all connections."""
    relay_lag_seconds: float
    """The time since the last read of the log."""
    errors: dict[str, str]
    """The last error of each task, until the task works again."""
    tasks: dict[str, TaskReport]
    counts: Counts
    edge: EdgeReport | None = None
    """What it has received from relays, if it follows them and not the database."""


_HIDDEN = "an error; see the log of the server, or ask as an administrator"


def for_strangers(report: NodeReport) -> NodeReport:
    """Return a report without the names of channels and the texts of errors, which may name a database."""
    return msgspec.structs.replace(
        report,
        subscribers={"all": sum(report.subscribers.values())},
        errors=dict.fromkeys(report.errors, _HIDDEN),
        tasks={
            name: replace(task, last_error=task.last_error and _HIDDEN) for name, task in report.tasks.items()
        },
    )
