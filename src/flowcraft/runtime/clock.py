"""Clock: the time of the machine."""

from __future__ import annotations

import time


class SystemClock:
    """Implements `flowcraft.ports.Clock`."""

    def monotonic(self) -> float:
        """Seconds that only go forward."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since the epoch."""
        return time.time()
