"""Clock: the time of the machine."""

from __future__ import annotations

import time


class SystemClock:
    """Implements `flowcraft.ports.Clock`."""

    # Not methods that call these: the clock is read several times for each batch and each write.
    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)
