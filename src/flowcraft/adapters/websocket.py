"""WebSocket: the dedicated server, an asyncio protocol over the Sans-I/O implementation of `websockets`.

The library does the handshake and everything that comes in. What goes out are bundles that were framed once
for all connections: they go to the transport as they are, whole frames at a time, and so may stand between
the library's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from flowcraft.adapters.doorstep import Doorstep
from flowcraft.core.frames import Bundle
from flowcraft.core.handshake import RETRY_SECONDS, Refused, admit
from flowcraft.core.lag import Lag
from flowcraft.errors import LogUnavailable
from flowcraft.ports import Conversation, Reception

logger = logging.getLogger("flowcraft")

HttpAnswer = tuple[int, str, str]
"""Status, content type, body."""
_HANDSHAKE_SECONDS = 5.0
_CLOSING_SECONDS = 1.0
_CONGESTED_BYTES = 64 * 1024
_SEND_BUFFER_BYTES = 256 * 1024
"""Of the kernel: it hides this much backlog from us, and by default several megabytes."""

# The library logs every refused handshake as an error with a traceback; what matters is reported here.
_quiet = logging.getLogger("flowcraft.websocket.library")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


class WebSocketConnection(asyncio.Protocol):
    """One client's socket, from its HTTP request to its last byte; a `flowcraft.ports.Connection`."""

    def __init__(
        self,
        reception: Reception,
        path: str,
        pages: Callable[[str], HttpAnswer | None],
        doorstep: Doorstep,
    ) -> None:
        self._reception = reception
        self._doorstep = doorstep
        self._arrived: bytes | None = b""
        self._path = path
        self._pages = pages
        self._settings = reception.settings
        self._protocol = ServerProtocol(max_size=self._settings.message_bytes, logger=_quiet)
        self._conversation: Conversation | None = None
        self._transport: asyncio.Transport | None = None
        self._fragments: list[bytes] = []
        self._deadline: asyncio.TimerHandle | None = None
        self._pong_due: asyncio.TimerHandle | None = None
        self._written = 0
        self._watched = False
        self._lag = Lag(self._settings.queue_seconds)
        self.congested = False

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only
        raw: socket.socket | None = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self._transport.set_write_buffer_limits(high=_CONGESTED_BYTES)
        self._deadline = asyncio.get_running_loop().call_later(_HANDSHAKE_SECONDS, self._abort)

    def data_received(self, data: bytes) -> None:
        if self._arrived is None:
            self._take_in(data)
            return
        if not self._arrived:
            self._doorstep.wait(self._come_in)
        self._arrived += data

    def _come_in(self) -> None:
        arrived, self._arrived = self._arrived, None
        if arrived is not None and self._transport is not None:
            self._take_in(arrived)

    def _take_in(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for received in self._protocol.events_received():
            if isinstance(received, Request):
                self._answer(received)
            else:
                assert isinstance(received, Frame)
                self._take(received)
        self._flush()

    def eof_received(self) -> None:
        if self._arrived:
            self._come_in()
        self._protocol.receive_eof()
        self._flush()

    def pause_writing(self) -> None:
        self.congested = True

    def resume_writing(self) -> None:
        self.congested = False
        if self._conversation is not None and self._protocol.state is OPEN:
            self._conversation.drained()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's
        for timer in (self._deadline, self._pong_due):
            if timer is not None:
                timer.cancel()
        self._transport = None
        if self._conversation is not None:
            self._conversation.closed()

    # the node's side (flowcraft.ports.Connection)

    def write(self, bundle: Bundle) -> None:
        if self._transport is None or self._protocol.state is not OPEN:
            return
        if self._watched and self._transport.get_write_buffer_size() > self._settings.queue_bytes:
            self.close_slow()
            return
        self._send(self._transport, bundle.websocket)

    def ping(self) -> None:
        if self._transport is None or self._protocol.state is not OPEN or self._pong_due is not None:
            return
        self._protocol.send_ping(b"")
        self._flush()
        self._await_pong(self._written)

    def close(self, code: int, reason: str) -> None:
        if self._transport is None or self._protocol.state is not OPEN:
            return
        self._protocol.send_close(code, reason)
        self._flush()
        # A peer that does not read will not answer either: wait a moment, not for ever.
        self._deadline = asyncio.get_running_loop().call_later(_CLOSING_SECONDS, self._abort)

    @property
    def waiting_bytes(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def close_slow(self) -> None:
        if self._protocol.state is OPEN:
            logger.info("a client reads too slowly; closed with 4408, it will resume from its cursor")
            self._reception.counts.slow_closes += 1
            self.close(4408, "too slow")

    def bound_queue(self, now: float) -> bool:
        if self._transport is None or self._protocol.state is not OPEN:
            return False
        sent = self._sent
        if self._lag.is_over(self._written, sent, now):
            self.close_slow()
        self._watched = sent < self._written
        return self._watched

    # the handshake

    def _answer(self, request: Request) -> None:
        url = urlsplit(request.path)
        page = self._pages(url.path)
        if page is not None:
            status, content_type, body = page
            response = self._protocol.reject(status, body)
            del response.headers["Content-Type"]
            response.headers["Content-Type"] = content_type
            self._protocol.send_response(response)
            return
        if url.path != self._path:
            self._protocol.send_response(self._protocol.reject(404, f"the WebSocket is at {self._path}\n"))
            return
        headers = request.headers
        judged = admit(
            url.query, origin=headers.get("Origin"), host=headers.get("Host"), settings=self._settings
        )
        if isinstance(judged, Refused):
            self._protocol.send_response(self._protocol.reject(judged.status, judged.reason + "\n"))
            return
        response = self._protocol.accept(request)
        if response.status_code == 101 and not self._reception.accepting:
            self._reception.counts.refused += 1
            response = self._protocol.reject(503, "not ready; try again\n")
            response.headers["Retry-After"] = str(random.randint(*RETRY_SECONDS))  # noqa: S311  # no secret
        self._protocol.send_response(response)
        self._flush()
        if self._protocol.state is OPEN:
            self._open(judged.channels, judged.since)

    def _open(self, channels: tuple[str, ...], since: str | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        try:
            self._conversation = self._reception.connect(self, channels, since)
        except LogUnavailable as error:
            self.close(1013, str(error))

    # messages

    def _take(self, frame: Frame) -> None:
        match frame.opcode:
            case Opcode.TEXT | Opcode.CONT:
                self._fragments.append(bytes(frame.data))
                if frame.fin:
                    message, self._fragments = b"".join(self._fragments), []
                    self._receive(message)
            case Opcode.BINARY:
                self._protocol.fail(1003, "text only")
            case Opcode.PONG if self._pong_due is not None:
                self._pong_due.cancel()
                self._pong_due = None
            case _:  # the library answers pings and closes
                pass

    def _receive(self, message: bytes) -> None:
        try:
            text = message.decode()
        except UnicodeDecodeError:
            self._protocol.fail(1007, "not UTF-8")
            return
        if self._conversation is not None:
            self._conversation.received(text)

    @property
    def _sent(self) -> int:
        """Bytes that the kernel has taken."""
        return self._written - self.waiting_bytes

    def _send(self, transport: asyncio.Transport, data: bytes) -> None:
        transport.write(data)
        self._written += len(data)
        if not self._watched and transport.get_write_buffer_size():
            self._watched = True
            self._reception.watch(self)

    def _flush(self) -> None:
        if self._transport is None:
            return
        for data in self._protocol.data_to_send():
            if data:
                self._send(self._transport, data)
            else:
                with contextlib.suppress(OSError, RuntimeError):  # the peer may have gone first
                    self._transport.write_eof()
        if self._protocol.close_expected() and self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(_CLOSING_SECONDS, self._abort)

    def _await_pong(self, pinged: int) -> None:
        wait = self._settings.pong_timeout_seconds
        loop = asyncio.get_running_loop()
        self._pong_due = loop.call_later(wait, self._no_pong, pinged, self._sent)

    def _no_pong(self, pinged: int, sent: int) -> None:
        """Judge a peer that did not answer: `pinged` bytes led up to the ping, `sent` had gone by then."""
        self._pong_due = None
        if self._protocol.state is not OPEN:
            return
        if self._sent < pinged:  # the ping itself still waits here, behind what the peer does not take
            if self._sent > sent:
                self._await_pong(pinged)
            else:
                self.close_slow()
            return
        logger.info("a client does not answer; closed with 4409")
        self._reception.counts.dead_closes += 1
        self.close(4409, "no pong")

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
