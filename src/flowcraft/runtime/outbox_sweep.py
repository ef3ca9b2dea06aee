"""Outbox sweep: one timer for a node, which closes connections whose bytes have waited too long."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from flowcraft.core.delays import Histogram
from flowcraft.core.states import State
from flowcraft.ports import Clock

logger = logging.getLogger(__name__)


class Swept(Protocol):
    """A gateway with an outbox."""

    @property
    def waiting_bytes(self) -> int: ...

    def sweep(self, now: float) -> bool:
        """Close if bytes have waited too long; return whether any wait."""
        ...

    def states(self) -> list[State]:
        """Return the states that the client has not been sent whole."""
        ...

    def close_slow(self) -> None:
        """Close: the client reads too slowly."""
        ...


class OutboxSweep:
    """Calls `sweep` of each gateway with an outbox until its outbox is empty, or the gateway has closed.

    The sweep runs five times per time limit, so a connection is closed at most a fifth too late. The delay of
    its timer is measured: everything in the event loop is that late. Clients that read the rows of channels
    slowly are served, for as long as the states that they hold have at most `states_bytes` together.
    """

    def __init__(self, limit_seconds: float, states_bytes: int, clock: Clock, delay: Histogram) -> None:
        self._every = min(1.0, limit_seconds / 5)
        self._states_bytes = states_bytes
        self._clock = clock
        self._delay = delay
        self._waiting: dict[Swept, None] = {}  # an ordered set: the longest waiting are closed first

    def add(self, gateway: Swept) -> None:
        """Sweep a gateway from now on."""
        self._waiting[gateway] = None

    def remove(self, gateway: Swept) -> None:
        """Keep nothing of a gateway that has closed."""
        self._waiting.pop(gateway, None)

    def waiting_bytes(self) -> list[int]:
        """Return the waiting bytes of each connection that has any."""
        # A copy: a gateway that fails when it is asked closes, and is removed.
        return [size for gateway in list(self._waiting) if (size := gateway.waiting_bytes)]

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            due = self._clock.monotonic() + self._every
            await asyncio.sleep(self._every)
            now = self._clock.monotonic()
            self._delay.observe(max(0.0, now - due))
            self._sweep(now)

    def _sweep(self, now: float) -> None:
        for gateway in list(self._waiting):
            try:
                waits = gateway.sweep(now)
            except Exception:
                logger.exception("the sweep of %s failed; its outbox is no longer swept", gateway)
                waits = False
            if not waits:
                self.remove(gateway)
        try:
            self._bound_states()
        except Exception:
            logger.exception("the states that slow clients hold were not counted")

    def _bound_states(self) -> None:
        """Close the clients of the states that have waited longest, until those that are left fit."""
        held: dict[State, list[Swept]] = {}
        for gateway in self._waiting:
            for state in gateway.states():
                held.setdefault(state, []).append(gateway)
        unread = sum([state.held_bytes for state in held])
        for state, gateways in held.items():
            if unread <= self._states_bytes:
                return
            unread -= state.held_bytes
            for gateway in gateways:
                gateway.close_slow()
