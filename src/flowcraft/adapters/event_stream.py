"""Event streams on the dedicated server: for `curl`, and for networks that block WebSockets."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator, Sequence

from flowcraft.adapters import server_sent
from flowcraft.adapters.sockets import ClientSocket
from flowcraft.errors import LogUnavailable
from flowcraft.ports import NodePort

logger = logging.getLogger(__name__)

_CLOSING_SECONDS = 1.0
"""A client that has not read the last bytes after this time is disconnected."""


class EventStreamConnection(ClientSocket):
    """A response whose body does not end; a `flowcraft.ports.Connection`."""

    def __init__(self, node: NodePort) -> None:
        super().__init__(node, server_sent.events_before_answer)

    def begin(self, transport: asyncio.Transport, head: bytes, messages: Sequence[str]) -> None:
        """Send the head of the response, and process the messages that the request contained."""
        self.connection_made(transport)
        raw: socket.socket | None = transport.get_extra_info("socket")
        if raw is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            # There is no ping in an event stream; the kernel ends a connection that acknowledges no bytes.
            silence = self._settings.heartbeat_seconds + self._settings.pong_timeout_seconds
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * silence))
        transport.write(head + server_sent.GREETING)
        self._begin_sending(transport)
        try:
            self._gateway = self._node.connect(self)
        except LogUnavailable as error:
            self.close(1013, str(error))
            return
        self._process(iter(messages))

    def data_received(self, data: bytes) -> None:
        """Ignore it: a stream has no messages from the client beside those of its request."""

    def _process(self, messages: Iterator[str]) -> None:
        """Process one message, and the next in another turn of the event loop: others have theirs between."""
        message = next(messages, None)
        if message is None or self._gateway is None or self._open is None:
            return
        try:
            self._gateway.received(message)
        except Exception:
            logger.exception("%s: a message in the request failed; closed with 1011", self._gateway)
            self.close(1011, "internal error")
        asyncio.get_running_loop().call_soon(self._process, messages)

    def try_send(self, data: bytes) -> int:
        if self.framing is not server_sent.events and server_sent.has_position(data):
            self.framing = server_sent.events
        return super().try_send(data)

    def ping(self) -> None:
        """Do nothing: a client that is gone is found by the bytes that it does not acknowledge."""

    def close(self, code: int, reason: str, rest: bytes = b"") -> None:
        transport = self._open
        if transport is None:
            return
        transport.write(rest + server_sent.close(code, reason))
        self._stop_sending()
        transport.close()
        self._end_within(_CLOSING_SECONDS)
