"""Pages: `/healthz`, `/readyz` and `/metrics` of a node, for the dedicated server and for the ASGI mount."""

from __future__ import annotations

import hmac
import os
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from flowcraft.adapters.http import TEXT, HttpAnswer
from flowcraft.core.report import NodeReport, for_strangers
from flowcraft.entrypoints.metrics import metrics_page
from flowcraft.runtime.node import Node

PATHS = ("/healthz", "/readyz", "/metrics")
"""Where the pages are: at the root of the dedicated server, below the mount in an ASGI application."""
_ALIVE: HttpAnswer = (200, TEXT, "ok\n")
_ONLY_IN_METRICS = {"commit_delay", "loop_delay", "refusals"}


ADMIN_TOKEN = "FLOWCRAFT_ADMIN_TOKEN"  # noqa: S105  # the name of a variable
_SHORTEST_TOKEN = 16


def page(
    path: str, headers: Mapping[str, str], node: Node, *, is_admin_port: bool = False
) -> HttpAnswer | None:
    """Return a page of a node; None if there is none at this path. Names of headers are in lower case.

    `/healthz` answers 200 for as long as the process does. `/readyz` answers 200 while new connections are
    served, else 503. `/metrics` is for Prometheus. The names of channels and the texts of errors are for
    administrators: at the admin port, or with the token of the environment.
    """
    if path not in PATHS:
        return None
    seen_by = _whole if is_admin_port or _is_admin(headers) else for_strangers
    match path:
        case "/healthz":
            return _ALIVE
        case "/readyz":
            report = seen_by(node.report())
            return (200 if report.ready else 503), "application/json", readiness(report)
        case _:
            return metrics_page(node, seen_by)


def check_admin_token() -> None:
    """Check the token of the environment, if there is one.

    Raises:
        ValueError: it can be guessed.
    """
    token = os.environ.get(ADMIN_TOKEN)
    if token is not None and len(token) < _SHORTEST_TOKEN:
        raise ValueError(
            f"{ADMIN_TOKEN} has {len(token)} characters; at least {_SHORTEST_TOKEN} are needed, "
            "for example from `openssl rand -hex 16`"
        )


def _is_admin(headers: Mapping[str, str]) -> bool:
    token = os.environ.get(ADMIN_TOKEN, "")
    scheme, _, sent = headers.get("authorization", "").partition(" ")
    if len(token) < _SHORTEST_TOKEN or scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(sent.strip().encode(), token.encode())


def _whole(report: NodeReport) -> NodeReport:
    return report


async def page_of_mount(
    path: str, headers: Mapping[str, str], start: Callable[[], Awaitable[Node]]
) -> HttpAnswer | None:
    """Return what `page` does, of the node that `start` returns; `/healthz` answers before it has started."""
    if path not in PATHS:
        return None
    return _ALIVE if path == "/healthz" else page(path, headers, await start())


def readiness(report: NodeReport) -> str:
    """Return the content of `/readyz`: a report without what grows with the channels, and the histograms.

    Probes ask for it every few seconds. `/metrics` has the numbers that are left out here.
    """
    content = msgspec.to_builtins(report)
    del content["subscribers"]
    content["counts"] = {k: v for k, v in content["counts"].items() if k not in _ONLY_IN_METRICS}
    return msgspec.json.encode(content).decode() + "\n"
