"""Metrics: the page that Prometheus scrapes, of one process or of all that share a port."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from flowcraft.adapters.http import TEXT, HttpAnswer
from flowcraft.adapters.prometheus import CONTENT_TYPE, MISSING, exposition
from flowcraft.adapters.shared_metrics import FOLDER, SharedMetrics
from flowcraft.core.report import NodeReport
from flowcraft.runtime.node import Node

logger = logging.getLogger(__name__)

_IN_MEMORY = Path("/dev/shm")  # noqa: S108  # only the parent of a new private folder


def metrics_page(node: Node, seen_by: Callable[[NodeReport], NodeReport]) -> HttpAnswer:
    """Return the page of this node, or of every process in the shared folder if the environment names one.

    `seen_by` returns what the reader may see of a report.
    """
    shared = SharedMetrics.found()
    reports = [node.report()] if shared is None else shared.read()
    try:
        text = exposition([seen_by(report) for report in reports], by_process=shared is not None)
    except ImportError:
        return 501, TEXT, MISSING
    return 200, CONTENT_TYPE, text


def keep_metrics(node: Node) -> None:
    """Write the node's report to the shared folder that the environment names, if it names one."""
    shared = SharedMetrics.found()
    if shared is not None:
        node.supervisor.keep("metrics", lambda: shared.keep(node.report))


@contextmanager
def shared_folder() -> Iterator[None]:
    """Name a shared folder in the environment of child processes, unless the environment has one already."""
    if SharedMetrics.found() is not None:
        yield
        return
    with ExitStack() as stack:
        try:
            memory = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None
            folder = tempfile.TemporaryDirectory(prefix="flowcraft-", dir=memory)
            os.environ[FOLDER] = stack.enter_context(folder)
            stack.callback(os.environ.pop, FOLDER)
        except OSError as error:  # no folder is writable
            logger.warning(
                "no shared folder for metrics: %s; each scrape reaches one arbitrary worker; set %s",
                *(error, FOLDER),
            )
        yield
