"""Fan-out to sockets: one call sends the same bytes to many, in C where that loads, else in Python.

Both versions do the same. The C one (`_fan_out.c`) is in the wheels of CPython on Linux and macOS; on other
platforms and implementations, in free-threaded builds, and with `FLOWCRAFT_FAN_OUT=python` in the environment
the Python one is used. `IMPLEMENTATION` names it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from flowcraft.core.bundles import Framing

_write = os.write  # a local name: an attribute lookup less for every recipient of every event


class PythonTarget:
    """One socket among those that `send_all` sends to."""

    fd: int = -1
    """The descriptor that bytes may go to at once; -1 while earlier ones wait, or once it has ended.

    It must be -1 before the descriptor is closed: the kernel uses its number again.
    """
    held: bool = False
    """Whether nothing may be sent now: earlier messages wait in an outbox."""
    sent: int = 0
    """Events sent."""
    framing: Framing
    """How the carrier frames messages."""


def python_send_all(
    targets: Mapping[int, PythonTarget], to: tuple[int, ...], framed: Mapping[Framing, bytes], events: int
) -> list[tuple[int, int]]:
    """Send to the sessions of `to`, in their order; count `events` for those that took everything.

    Returns:
        The sessions that need another way, and how many bytes each has taken: there is no descriptor, it
        would block, it took a part, or it is broken. A session without a target has ended, and is skipped.
    """
    rest: list[tuple[int, int]] = []
    for session in to:
        target = targets.get(session)
        if target is None:
            continue
        taken = 0
        if target.fd >= 0 and not target.held:
            try:
                data = framed[target.framing]
                taken = _write(target.fd, data)
            except Exception:  # noqa: BLE001, S110  # the other way meets it again, for this session alone
                pass
            else:
                if taken == len(data):
                    target.sent += events
                    continue
        rest.append((session, taken))
    return rest


if TYPE_CHECKING:
    Target = PythonTarget
    send_all = python_send_all
    IMPLEMENTATION: Literal["C", "Python"]
else:
    try:
        if os.environ.get("FLOWCRAFT_FAN_OUT") == "python":
            raise ImportError
        _compiled = import_module("flowcraft._fan_out")
        Target, send_all, IMPLEMENTATION = _compiled.Target, _compiled.send_all, "C"
    except ImportError:
        Target, send_all, IMPLEMENTATION = PythonTarget, python_send_all, "Python"
