"""Client sockets: what a client of the dedicated server is sent, and what becomes of what it does not read.

What goes out was framed once for all connections: it goes to the kernel as it is. An idle connection holds no
buffer, no task and no timer.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable
from operator import attrgetter
from typing import cast

from flowcraft.core.frames import Bundle
from flowcraft.core.lag import Lag
from flowcraft.ports import Conversation, Reception

logger = logging.getLogger("flowcraft")
_write = os.write  # looked up once: it is called for every recipient of every event

NO_FD = -1
_CONGESTED_BYTES = 64 * 1024
_SEND_BUFFER_BYTES = 256 * 1024
"""Of the kernel: it hides this much backlog from us, and by default several megabytes."""


class ClientSocket(asyncio.Protocol):
    """Half of a `flowcraft.ports.Connection`: it writes. Who inherits it says how to ping and to close."""

    def __init__(self, reception: Reception) -> None:
        self._reception = reception
        self._settings = reception.settings
        self._conversation: Conversation | None = None
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._open: asyncio.Transport | None = None
        """The transport, for as long as messages may be written to it."""
        self._fd = NO_FD
        """Its file descriptor, for as long as they may go there directly: nothing waits before them."""
        self._stalled = False
        """Whether something waits because the kernel did not take it."""
        self._framed: Callable[[Bundle], bytes] = attrgetter("websocket")
        """How bundles are framed here."""
        self._written = 0
        self._lag: Lag | None = None

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only
        raw: socket.socket | None = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self._transport.set_write_buffer_limits(high=0)

    def eof_received(self) -> None:
        """Say nothing more: a peer that closed its side is gone."""

    def pause_writing(self) -> None:
        self._stalled, self._fd = True, NO_FD
        self._reception.watch(self)

    def resume_writing(self) -> None:
        self._stalled, self._lag = False, None
        if self._open is not None:
            self._fd = _descriptor(self._open)
        if self._conversation is not None and self._open is not None:
            self._conversation.drained()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's
        if self._deadline is not None:
            self._deadline.cancel()
        self._transport = None
        self._shut()
        if self._conversation is not None:
            self._conversation.closed()

    # the node's side

    def write(self, bundle: Bundle) -> None:
        """Write it now; what the kernel does not take waits in the transport.

        Past the transport, which takes longer than the rest of this path, as long as nothing waits in it. Its
        descriptor is ours until `connection_lost`: event loops close it after they have called that.
        """
        data = self._framed(bundle)
        fd, length = self._fd, len(data)
        if fd < 0:
            self._write_behind(data)
            return
        self._written += length
        try:
            taken = _write(fd, data)
        except OSError:  # it would block, or is broken: the transport knows what to do
            taken = 0
        if taken != length and self._open is not None:
            self._open.write(data[taken:])

    def ping(self) -> None:
        raise NotImplementedError

    def close(self, code: int, reason: str) -> None:
        raise NotImplementedError

    @property
    def congested(self) -> bool:
        return self._stalled and self.waiting_bytes > _CONGESTED_BYTES

    @property
    def waiting_bytes(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def close_slow(self) -> None:
        if self._open is not None:
            logger.info("a client reads too slowly; closed with 4408, it will resume from its cursor")
            self._reception.counts.slow_closes += 1
            self.close(4408, "too slow")

    def bound_queue(self, now: float) -> bool:
        if self._open is None or not self._stalled:
            return False
        self._lag = self._lag or Lag(self._settings.queue_seconds)
        if not self._lag.is_over(self._written, self._sent, now):
            return True
        self.close_slow()
        return False

    # for those that inherit it

    @property
    def _sent(self) -> int:
        """Bytes that the kernel has taken."""
        return self._written - self.waiting_bytes

    def _send(self, transport: asyncio.Transport, data: bytes) -> None:
        self._written += len(data)
        transport.write(data)

    def _write_behind(self, data: bytes) -> None:
        """Write after what waits already, unless that is too much."""
        transport = self._open
        if transport is None:
            return
        if self._stalled and transport.get_write_buffer_size() > self._settings.queue_bytes:
            self.close_slow()
            return
        self._send(transport, data)

    def _let_in(self, transport: asyncio.Transport) -> None:
        """Let messages be written from now on."""
        self._open, self._fd = transport, _descriptor(transport)

    def _shut(self) -> None:
        """Let nothing be written any more."""
        self._open, self._fd = None, NO_FD

    def _end_within(self, seconds: float) -> None:
        self._deadline = asyncio.get_running_loop().call_later(seconds, self._abort)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _descriptor(transport: asyncio.Transport) -> int:
    """Where bytes leave as they are; nowhere if they are encrypted, on Windows, or if some wait already."""
    raw: socket.socket | None = transport.get_extra_info("socket")
    encrypted = transport.get_extra_info("sslcontext") is not None
    if raw is None or encrypted or sys.platform == "win32" or transport.get_write_buffer_size():
        return NO_FD
    return raw.fileno()
