"""Event streams on the dedicated server: for `curl`, and for networks that block WebSockets."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from flowcraft.adapters import http, server_sent
from flowcraft.adapters.rows_stream import RowsStream
from flowcraft.adapters.sockets import NO_FD, ClientSocket
from flowcraft.carrier_ports import Entrance, NodePort
from flowcraft.errors import LogUnavailable
from flowcraft.viewers import Handshake

logger = logging.getLogger(__name__)

_CLOSING_SECONDS = 1.0
"""A client that has not read the last bytes after this time is disconnected."""


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """A request for a stream: the client's messages in it, and how it is answered."""

    messages: Sequence[str]
    entrance: Entrance
    """Without `decided`, which is the connection's."""
    headers: Mapping[str, str]
    """Of every answer to it."""
    is_head: bool
    has_ended: bool
    """Whether the client has closed its sending side."""
    rows: tuple[str, ...] = ()
    """The channels whose rows the URL asks for."""


class EventStreamConnection(ClientSocket):
    """A response whose body does not end; a `flowcraft.carrier_ports.Connection`.

    The response begins once the request is not refused: until then what is sent is held.
    """

    def __init__(self, node: NodePort, request: StreamRequest) -> None:
        super().__init__(node, server_sent.events if request.rows else server_sent.events_before_answer)
        self._request = request
        self._rows = RowsStream(request.rows, self._ask, self._cannot_read) if request.rows else None
        self._held: list[bytes] | None = []
        """The messages before the response has begun; None afterwards."""
        self._is_decided = False
        self._has_ended = request.has_ended

    def begin(self, transport: asyncio.Transport) -> None:
        """Connect to the node, and process the messages that the request contained."""
        self.connection_made(transport)
        raw: socket.socket | None = transport.get_extra_info("socket")
        if raw is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            # There is no ping in an event stream; the kernel ends a connection that acknowledges no bytes.
            silence = self._settings.heartbeat_seconds + self._settings.pong_timeout_seconds
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * silence))
        entrance = msgspec.structs.replace(self._request.entrance, decided=self._decided)
        messages, self._request = self._request.messages, replace(self._request, messages=(), entrance=_PAST)
        try:
            gateway = self._node.connect(self, entrance=entrance)
        except LogUnavailable as error:
            self.close(1013, str(error))
            return
        except Exception:
            self._held = None
            transport.write(http.response(500, "internal server error\n"))
            raise
        self._gateway = gateway
        if self._is_decided:
            self._decided()
        self._process(iter(messages))

    def eof_received(self) -> bool | None:
        """Answer first, if that is possible soon: a client may close its sending side after its request."""
        self._has_ended = True
        if self._held is None:
            return None
        self._end_within(_CLOSING_SECONDS)
        return True

    def data_received(self, data: bytes) -> None:
        """Ignore it: a stream has no messages from the client beside those of its request."""

    def _process(self, messages: Iterator[str]) -> None:
        """Process one message, and the next in another turn of the event loop: others have theirs between."""
        message = next(messages, None)
        if message is None or self._gateway is None or (self._open is None and self._held is None):
            return
        try:
            self._gateway.received(message)
        except Exception:
            logger.exception("%s: a message in the request failed; closed with 1011", self._gateway)
            self.close(1011, "internal error")
        asyncio.get_running_loop().call_soon(self._process, messages)

    def _use_descriptor(self) -> None:
        super()._use_descriptor()
        if self.framing is not server_sent.events or self._rows is not None:
            self.fd = NO_FD  # `try_send` sees everything until there is a position

    def _ask(self, message: str) -> None:
        asyncio.get_running_loop().call_soon(self._process, iter((message,)))

    def _cannot_read(self) -> None:
        asyncio.get_running_loop().call_soon(self.close, 1013, "the rows cannot be read now")

    def try_send(self, data: bytes) -> int:
        if self._rows is not None:
            data = self._rows.passed(data)
        elif self.framing is not server_sent.events and server_sent.has_position(data):
            self.framing = server_sent.events
            self._use_descriptor()
        if self._held is not None:
            self._held.append(data)
            return len(data)
        return super().try_send(data)

    def ping(self) -> None:
        """Do nothing: a client that is gone is found by the bytes that it does not acknowledge."""

    def close(self, code: int, reason: str, rest: bytes = b"") -> None:
        transport = self._transport if self._open is None else self._open
        if transport is None or (self._open is None and self._held is None):
            return
        if self._held is None or not self._refuse(transport, code, reason):
            self._begin_response(transport)
            if not self._request.is_head:
                last = rest if self._rows is None else self._rows.passed(rest)
                transport.write(last + server_sent.close(code, reason))
        self._end(transport)

    def _decided(self) -> None:
        """Begin the response: the request is not refused."""
        self._is_decided = True
        transport = self._transport
        if self._gateway is None or transport is None or self._held is None:
            return
        self._begin_response(transport)
        if self._request.is_head or self._has_ended:
            self._end(transport)
        elif not transport.get_write_buffer_size():  # otherwise the event loop reports it
            self._gateway.writable()

    def _begin_response(self, transport: asyncio.Transport) -> None:
        """Send the head of the response and what was held, unless that was done."""
        held, self._held = self._held, None
        if held is None:
            return
        head = http.response_head(200, server_sent.HEADERS | dict(self._request.headers))
        transport.write(head)
        if not self._request.is_head:
            transport.write(server_sent.GREETING + b"".join(held))
            self._begin_sending(transport)

    def _refuse(self, transport: asyncio.Transport, code: int, reason: str) -> bool:
        """Send an error response if the close means that the token is refused; return whether it does."""
        refused = server_sent.unauthorized(code, reason)
        if refused is None:
            return False
        self._held = None
        headers, is_head = dict(self._request.headers) | dict(refused.headers), self._request.is_head
        transport.write(
            http.response(refused.status, refused.reason + "\n", headers=headers, is_head=is_head)
        )
        return True

    def _end(self, transport: asyncio.Transport) -> None:
        self._stop_sending()
        transport.close()
        self._end_within(_CLOSING_SECONDS)


def _no_handshake() -> Handshake:
    raise AssertionError("the request is past")


_PAST = Entrance(_no_handshake, "later")
