"""Time limits: a test that goes on after its limit was reached is ended together with its process.

pytest-timeout raises an exception in the main thread once, when the limit is reached. A task that swallows
the exception, a call that never returns to Python and a teardown that waits for the part that hung would go
on. After `timeout_grace` seconds more the process prints the stack of every thread and exits; pytest-xdist
reports the test as failed and starts another worker for the rest.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import pytest

LONGEST_SECONDS = 300.0
"""No test may ask for more."""


@runtime_checkable
class _Capture(Protocol):
    def suspend_global_capture(self, in_: bool = False) -> None: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("timeout_grace", "seconds after a test's limit until its process is ended", default="30")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Give the process of a test until the grace after its limit is over."""
    seconds = limit_of(item) + float(str(item.config.getini("timeout_grace")))

    def uncapture() -> None:
        capture: object = item.config.pluginmanager.getplugin("capturemanager")
        if isinstance(capture, _Capture):
            capture.suspend_global_capture(in_=True)

    with process_ends(item.nodeid, seconds, uncapture):
        return (yield)


def limit_of(item: pytest.Item) -> float:
    """Return the seconds that a test may take, with its fixtures; 0 if it has no limit."""
    marker = item.get_closest_marker("timeout")
    asked = item.config.getini("timeout") if marker is None else marker.args[0]
    return float(str(asked or 0))


@contextmanager
def process_ends(what: str, seconds: float, before: Any = None) -> Iterator[None]:
    """End the process, with the stacks of all threads, unless this block is left in time."""

    def end() -> None:
        if before is not None:
            before()
        print(f"\n{what}: not over after {seconds:g} s; the process is ended", file=sys.stderr, flush=True)
        faulthandler.dump_traceback(all_threads=True)
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
