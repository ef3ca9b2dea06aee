"""Reports of nodes that have done nothing yet."""

from __future__ import annotations

from typing import Any

import msgspec

from flowcraft.core.counts import Counts
from flowcraft.core.report import NodeReport


def blank_report(pid: int = 1, **changes: Any) -> NodeReport:
    """Return the report of a node that is live and has no clients."""
    blank = NodeReport(
        pid=pid,
        ready=True,
        state="live",
        wakeup="idle",
        connections=0,
        subscriptions=0,
        subscribers={},
        waiting_connections=0,
        outbox_bytes=0,
        relay_lag_seconds=0.0,
        errors={},
        tasks={},
        counts=Counts(),
    )
    return msgspec.structs.replace(blank, **changes)
