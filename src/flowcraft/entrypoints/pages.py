"""Pages: `/healthz`, `/readyz` and `/metrics` of a node, for the dedicated server and for the ASGI mount."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from flowcraft.adapters.http import TEXT, HttpAnswer
from flowcraft.core.report import NodeReport
from flowcraft.entrypoints.metrics import metrics_page
from flowcraft.runtime.node import Node

PATHS = ("/healthz", "/readyz", "/metrics")
"""Where the pages are: at the root of the dedicated server, below the mount in an ASGI application."""
_ALIVE: HttpAnswer = (200, TEXT, "ok\n")
_ONLY_IN_METRICS = {"commit_delay", "loop_delay", "refusals"}


def page(path: str, node: Node) -> HttpAnswer | None:
    """Return a page of a node; None if there is none at this path.

    `/healthz` answers 200 for as long as the process does. `/readyz` answers 200 while new connections are
    served, else 503. `/metrics` is for Prometheus.
    """
    match path:
        case "/healthz":
            return _ALIVE
        case "/readyz":
            report = node.report()
            return (200 if report.ready else 503), "application/json", readiness(report)
        case "/metrics":
            return metrics_page(node)
        case _:
            return None


async def page_of_mount(path: str, start: Callable[[], Awaitable[Node]]) -> HttpAnswer | None:
    """Return what `page` does, of the node that `start` returns; `/healthz` answers before it has started."""
    if path not in PATHS:
        return None
    return _ALIVE if path == "/healthz" else page(path, await start())


def readiness(report: NodeReport) -> str:
    """Return the content of `/readyz`: a report without what grows with the channels, and the histograms.

    Probes ask for it every few seconds. `/metrics` has the numbers that are left out here.
    """
    content = msgspec.to_builtins(report)
    del content["subscribers"]
    content["counts"] = {k: v for k, v in content["counts"].items() if k not in _ONLY_IN_METRICS}
    return msgspec.json.encode(content).decode() + "\n"
