"""Event streams on the dedicated server's port: for `curl`, and where WebSockets are blocked."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from flowcraft.adapters import rfc6455
from flowcraft.adapters.sockets import ClientSocket
from flowcraft.core.event_stream import EventStream, response_headers
from flowcraft.core.server_sent import GREETING, close
from flowcraft.errors import LogUnavailable
from flowcraft.ports import Reception

_CLOSING_SECONDS = 1.0


class EventStreamConnection(ClientSocket):
    """The answer to one request, which does not end; a `flowcraft.ports.Connection`."""

    def __init__(self, reception: Reception) -> None:
        super().__init__(reception)
        self._framed = EventStream().framed

    def begin(self, transport: asyncio.Transport, origin: str | None, messages: Sequence[str]) -> None:
        """Answer, and take what the client has said in its request."""
        self.connection_made(transport)
        raw: socket.socket | None = transport.get_extra_info("socket")
        if raw is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            # A peer cannot be asked for a sign of life here; the kernel notices that it acknowledges nothing.
            silence = self._settings.heartbeat_seconds + self._settings.pong_timeout_seconds
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * silence))
        self._send(transport, rfc6455.response_head(200, response_headers(origin)) + GREETING)
        self._let_in(transport)
        try:
            conversation = self._conversation = self._reception.connect(self)
        except LogUnavailable as error:
            self.close(1013, str(error))
            return
        for message in messages:
            conversation.received(message)

    def data_received(self, data: bytes) -> None:
        """Ignore it: all has been said in the request."""

    def ping(self) -> None:
        """There is none: a peer that does not answer is noticed by what it does not take."""

    def close(self, code: int, reason: str) -> None:
        transport = self._open
        if transport is None:
            return
        self._send(transport, close(code, reason))
        self._shut()
        transport.close()
        self._end_within(_CLOSING_SECONDS)
