"""Event streams on the dedicated server's port: for `curl`, and where WebSockets are blocked."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator, Sequence

from flowcraft.adapters import http, server_sent
from flowcraft.adapters.sockets import ClientSocket
from flowcraft.adapters.stream_requests import response_headers
from flowcraft.errors import LogUnavailable
from flowcraft.ports import NodePort

logger = logging.getLogger(__name__)

_CLOSING_SECONDS = 1.0


class EventStreamConnection(ClientSocket):
    """The answer to one request, which does not end; a `flowcraft.ports.Connection`."""

    def __init__(self, node: NodePort) -> None:
        super().__init__(node, server_sent.events_before_answer)

    def begin(self, transport: asyncio.Transport, origin: str | None, messages: Sequence[str]) -> None:
        """Answer, and take the client's messages, which its request contained."""
        self.connection_made(transport)
        raw: socket.socket | None = transport.get_extra_info("socket")
        if raw is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            # A client cannot be asked for a sign of life here; the kernel notices if it acknowledges nothing.
            silence = self._settings.heartbeat_seconds + self._settings.pong_timeout_seconds
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * silence))
        transport.write(http.response_head(200, response_headers(origin)) + server_sent.GREETING)
        self._begin_sending(transport)
        try:
            self._gateway = self._node.connect(self)
        except LogUnavailable as error:
            self.close(1013, str(error))
            return
        self._take_in(iter(messages))

    def data_received(self, data: bytes) -> None:
        """Ignore it: a stream takes no messages but those of its request."""

    def _take_in(self, messages: Iterator[str]) -> None:
        """Take one message, and the next in another turn of the event loop, after what others have to do."""
        message = next(messages, None)
        if message is None or self._gateway is None or self._open is None:
            return
        try:
            self._gateway.received(message)
        except Exception:
            logger.exception("a message of a request failed; its stream is closed with 1011")
            self.close(1011, "internal error")
        asyncio.get_running_loop().call_soon(self._take_in, messages)

    def try_send(self, data: bytes) -> int:
        if self.framing is not server_sent.events and server_sent.has_position(data):
            self.framing = server_sent.events
        return super().try_send(data)

    def ping(self) -> None:
        """Do nothing: a client that does not answer is noticed by what it does not take."""

    def close(self, code: int, reason: str, rest: bytes = b"") -> None:
        transport = self._open
        if transport is None:
            return
        transport.write(rest + server_sent.close(code, reason))
        self._stop_sending()
        transport.close()
        self._end_within(_CLOSING_SECONDS)
