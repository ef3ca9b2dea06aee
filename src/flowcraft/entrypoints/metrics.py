"""Metrics: the page that Prometheus reads, of one process or of all that share a port."""

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
    """Return the page; where the environment names a board, that of every process that uses it."""
    board = SharedMetrics.found()
    try:
        text = exposition([node.report()]) if board is None else exposition(board.read(), by_process=True)
    except ImportError:
        return 501, "text/plain; charset=utf-8", MISSING
    return 200, CONTENT_TYPE, text


def keep_metrics(node: Node) -> None:
    """Keep the node's numbers on the board that the environment names, if it names one."""
    board = SharedMetrics.found()
    if board is not None:
        node.supervisor.keep("metrics", lambda: board.keep(node.report))


@contextmanager
def shared_board() -> Iterator[None]:
    """Name a board to the processes that are started meanwhile, unless somebody has named one already."""
    if SharedMetrics.found() is not None:
        yield
        return
    with ExitStack() as stack:
        try:
            memory = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None
            folder = tempfile.TemporaryDirectory(prefix="flowcraft-", dir=memory)
            os.environ[FOLDER] = stack.enter_context(folder)
            stack.callback(os.environ.pop, FOLDER)
        except OSError as error:  # nothing here may be written to
            logger.warning("each worker tells of its own metrics only, at random: %s; set %s", error, FOLDER)
        yield
