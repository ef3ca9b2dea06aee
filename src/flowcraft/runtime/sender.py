"""Sender: send to one connection; what that does not take waits in its outbox."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from flowcraft.carrier_ports import Connection
from flowcraft.core.answers import Part
from flowcraft.core.bundles import Bundle
from flowcraft.core.conflation import Conflation
from flowcraft.core.counts import Counts
from flowcraft.core.outbox import Outbox
from flowcraft.core.states import State
from flowcraft.fan_out import Target
from flowcraft.ports import Clock
from flowcraft.runtime.outbox_sweep import OutboxSweep
from flowcraft.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SenderContext:
    """The parts that all senders of a node share."""

    settings: Settings
    clock: Clock
    counts: Counts
    sweep: OutboxSweep
    conflation: Conflation | None
    """None if no channel is conflated."""


class Sender(ABC):
    """The sending half of one connection. The node calls `write` and `ping`; `send_all` uses `target`."""

    def __init__(self, connection: Connection, context: SenderContext) -> None:
        self._connection = connection
        self._context = context
        self.target = connection if isinstance(connection, Target) else Target()
        """Counts the events sent; while there is an outbox, that counts them."""
        self._outbox: Outbox | None = None
        """None while the connection sends everything at once."""
        self._closed = False

    @property
    def is_direct(self) -> bool:
        """Whether bytes go to the socket itself, not through an ASGI server."""
        return self._connection.is_direct

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait in the outbox and in the carrier."""
        try:
            return self._connection.waiting_bytes + (0 if self._outbox is None else self._outbox.size)
        except Exception as error:  # noqa: BLE001  # reported there; `NodeReport` goes on with the others
            self.fail(error)
            return 0

    def write(self, part: Part, taken: int = 0) -> None:
        """Send messages, of which `taken` bytes have been sent already.

        A connection that fails is closed; the others are not affected.
        """
        try:
            self._write(part, taken)
        except Exception as error:  # noqa: BLE001  # reported there
            self.fail(error)

    def ping(self) -> None:
        """Send a ping."""
        self._attempt(self._ping)

    def states(self) -> list[State]:
        """Return the states that the client has not been sent whole."""
        return [] if self._outbox is None else self._outbox.states()

    def close_slow(self) -> None:
        """Close a connection whose client reads too slowly; it resumes."""
        self._attempt(self._close_slow)

    def writable(self) -> None:
        """Send more: no bytes wait in the carrier."""
        self._attempt(self._flush)

    def unresponsive(self) -> None:
        """Close a connection whose client did not answer a ping in time, as slow if it has an outbox."""
        self._attempt(self._close_slow if self._outbox is not None else self._close_dead)

    def sweep(self, now: float) -> bool:
        """Close the connection if bytes have waited too long; return whether any wait."""
        if self._outbox is not None and self._outbox.is_overdue(now, self._context.settings.outbox_seconds):
            self._attempt(self._close_slow)
        return self._outbox is not None

    @abstractmethod
    def closed(self) -> None:
        """End: the connection is gone; idempotent."""

    def _attempt(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  # reported there
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Close a connection after an unforeseen error; its client resumes."""
        if self._closed:
            return
        self._context.counts.failures["connection"] += 1
        logger.error("%s failed; closed with 1011, the client resumes", self, exc_info=error)
        try:
            self._connection.close(1011, "the connection failed")
        except Exception:
            logger.exception("closing %s failed", self)
        finally:
            self.closed()

    def _write(self, part: Part, taken: int = 0) -> None:
        if self._closed:
            return
        outbox = self._outbox
        if outbox is not None:
            if not outbox.put(part, self._context.clock.monotonic()):
                self._close_slow()
        elif isinstance(part, Bundle):
            target, connection = self.target, self._connection
            bundle = part if part.is_shared else part.counted(target.sent)
            target.sent += bundle.events
            data = bundle.framed[connection.framing]
            if connection.try_send(data[taken:] if taken else data):
                self._begin_outbox()
        else:
            self._begin_outbox().put(part, self._context.clock.monotonic())
            self._flush()

    def _begin_outbox(self) -> Outbox:
        context = self._context
        limit, now = context.settings.outbox_bytes, context.clock.monotonic()
        outbox = self._outbox = Outbox(limit, context.conflation, events=self.target.sent, now=now)
        self.target.held = True
        context.sweep.add(self)
        return outbox

    def _flush(self) -> None:
        """Send chunks for as long as the connection takes them."""
        outbox = self._outbox
        while outbox:
            chunk = outbox.take(self._context.clock.monotonic())
            if self._connection.try_send(chunk.framed[self._connection.framing]):
                return
        if outbox is not None and not self._closed:
            self.target.sent, self.target.held, self._outbox = outbox.events, False, None
            if outbox.has_ended:
                self._close_slow()

    def _ping(self) -> None:
        self._connection.ping()

    def _close_dead(self) -> None:
        if self._closed:
            return
        logger.info("%s did not answer a ping in time; closed with 4409, the client resumes", self)
        self._context.counts.dead_closes += 1
        self._close(4409, "no pong")

    def _close_slow(self) -> None:
        """Close because the outbox is full or overdue: the one answer to both. The client resumes."""
        if self._closed:
            return
        logger.info("%s reads too slowly; closed with 4408, the client resumes", self)
        self._context.counts.slow_closes += 1
        self._outbox = None
        self._close(4408, "too slow")

    def _close(self, code: int, reason: str, *last: bytes) -> None:
        """Close after the unsent messages before any replay, and after the last frames."""
        rest = () if self._outbox is None else self._outbox.take_rest()
        self._connection.close(code, reason, Bundle((*rest, *last)).framed[self._connection.framing])
        self.closed()
