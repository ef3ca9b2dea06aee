"""Pinged socket: a WebSocket whose client must answer pings."""

from __future__ import annotations

import asyncio

from flowcraft.adapters import rfc6455
from flowcraft.adapters.sockets import ClientSocket

TOO_MUCH = 4429
"""The close code of a client that sends too much."""


class PingedSocket(ClientSocket):
    """A WebSocket whose client must answer pings."""

    _pong_due: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_alive()
        super().connection_lost(exc)

    def ping(self) -> None:
        if self._open is not None and self._pong_due is None:
            self._open.write(rfc6455.PING)
            self._await_pong(pinged_at=self._resumes)

    def _is_alive(self) -> None:
        """Stop waiting for a pong: bytes have arrived."""
        if self._pong_due is not None:
            self._pong_due.cancel()
            self._pong_due = None

    def _await_pong(self, pinged_at: int) -> None:
        wait = self._settings.pong_timeout_seconds
        loop = asyncio.get_running_loop()
        self._pong_due = loop.call_later(wait, self._no_pong, pinged_at, self.waiting_bytes)

    def _no_pong(self, pinged_at: int, waiting: int) -> None:
        """Report a client that did not answer, unless the ping may still wait behind bytes that it reads.

        `pinged_at` is how often the transport had been emptied when the ping was written; `waiting` is how
        many bytes waited in it when this timer was set.
        """
        self._pong_due = None
        if self._open is None or self._gateway is None:
            return
        if waiting and self._resumes == pinged_at and self.waiting_bytes < waiting:
            self._await_pong(pinged_at)
        else:
            self._gateway.unresponsive()
