"""Metrics: the page that Prometheus scrapes, for one process or for all that share a port."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from flowcraft.adapters.prometheus import CONTENT_TYPE, MISSING, exposition
from flowcraft.adapters.shared_metrics import FOLDER, SharedMetrics
from flowcraft.adapters.websocket import HttpAnswer
from flowcraft.runtime.node import Node

logger = logging.getLogger(__name__)

_IN_MEMORY = Path("/dev/shm")  # noqa: S108  # a folder of our own is made in it


def metrics_page(node: Node) -> HttpAnswer:
    """Return the page: of this process, or of all that share the metrics folder of the environment."""
    board = SharedMetrics.found()
    try:
        text = exposition([node.report()]) if board is None else exposition(board.read(), by_process=True)
    except ImportError:
        return 501, "text/plain; charset=utf-8", MISSING
    return 200, CONTENT_TYPE, text


def keep_metrics(node: Node) -> None:
    """Write the node's report into the shared metrics folder, if the environment names one."""
    board = SharedMetrics.found()
    if board is not None:
        node.supervisor.keep("metrics", lambda: board.keep(node.report))


@contextmanager
def shared_board() -> Iterator[None]:
    """Set a shared metrics folder in the environment of child processes, unless one is set already."""
    if SharedMetrics.found() is not None:
        yield
        return
    with ExitStack() as stack:
        try:
            memory = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None
            folder = tempfile.TemporaryDirectory(prefix="flowcraft-", dir=memory)
            os.environ[FOLDER] = stack.enter_context(folder)
            stack.callback(os.environ.pop, FOLDER)
        except OSError as error:  # no folder here is writable
            logger.warning(
                "a scrape reaches one arbitrary worker, with its own metrics only: %s; set %s to a folder",
                error,
                FOLDER,
            )
        yield
