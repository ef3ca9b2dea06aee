"""Stopping: one place that listens for SIGTERM and Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def until_stopped(work: Coroutine[object, object, None]) -> None:
    """Run the work until it ends or a signal stops the process; then it is cancelled and may clean up."""
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(work)
    for number in _SIGNALS:
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        if not task.cancelled():
            raise
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
