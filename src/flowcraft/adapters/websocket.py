"""WebSocket: the dedicated server, an asyncio protocol of our own.

What goes out are bundles that were framed once for all connections: they go to the transport as they are. An
idle connection holds no buffer, no task and no timer.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import sys
from collections.abc import Callable
from enum import Enum, auto
from typing import cast
from urllib.parse import urlsplit

from flowcraft.adapters import rfc6455
from flowcraft.adapters.doorstep import Doorstep
from flowcraft.adapters.rfc6455 import BadRequest, FrameReader, ProtocolError, Received
from flowcraft.core import deflate
from flowcraft.core.frames import Bundle
from flowcraft.core.handshake import RETRY_SECONDS, Refused, admit
from flowcraft.core.lag import Lag
from flowcraft.errors import LogUnavailable
from flowcraft.ports import Conversation, Reception

logger = logging.getLogger("flowcraft")
_write = os.write  # looked up once: it is called for every recipient of every event

HttpAnswer = tuple[int, str, str]
"""Status, content type, body."""
_HANDSHAKE_SECONDS = 5.0
_CLOSING_SECONDS = 1.0
NO_FD = -1
_CONGESTED_BYTES = 64 * 1024
_SEND_BUFFER_BYTES = 256 * 1024
"""Of the kernel: it hides this much backlog from us, and by default several megabytes."""


class _State(Enum):
    """Of a connection: a request, a WebSocket, one that was told to close, one that is not read any more."""

    ARRIVING = auto()
    OPEN = auto()
    CLOSING = auto()
    OVER = auto()


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
        self._path = path
        self._pages = pages
        self._settings = reception.settings
        self._state = _State.ARRIVING
        self._arrived = b""
        self._at_the_door = False
        self._reader: FrameReader | None = None
        self._conversation: Conversation | None = None
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._pong_due: asyncio.TimerHandle | None = None
        self._open: asyncio.Transport | None = None
        """The transport, for as long as messages may be written to it."""
        self._fd = NO_FD
        """Its file descriptor, for as long as they may go there directly: nothing waits before them."""
        self._stalled = False
        """Whether something waits because the kernel did not take it."""
        self._written = 0
        self._lag: Lag | None = None
        self._deflates = False
        """Whether compression was agreed on."""

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only
        raw: socket.socket | None = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self._transport.set_write_buffer_limits(high=0)
        self._deadline = asyncio.get_running_loop().call_later(_HANDSHAKE_SECONDS, self._abort)

    def data_received(self, data: bytes) -> None:
        if self._state is _State.ARRIVING:
            self._arrived += data
            if not self._at_the_door:
                self._at_the_door = True
                self._doorstep.wait(self._come_in)
        elif self._state is not _State.OVER:
            self._take_in(data)

    def _come_in(self) -> None:
        """Answer a request once all of it is there."""
        self._at_the_door = False
        if self._state is not _State.ARRIVING or self._transport is None:
            return
        try:
            request = rfc6455.read_request(self._arrived)
        except BadRequest as error:
            self._refuse(error.status, str(error))
            return
        if request is not None:
            self._arrived = b""
            self._answer(request)

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
        for timer in (self._deadline, self._pong_due):
            if timer is not None:
                timer.cancel()
        self._transport = None
        self._shut()
        if self._conversation is not None:
            self._conversation.closed()

    # the node's side (flowcraft.ports.Connection)

    def write(self, bundle: Bundle) -> None:
        """Write it now; what the kernel does not take waits in the transport.

        Past the transport, which takes longer than the rest of this path, as long as nothing waits in it. Its
        descriptor is ours until `connection_lost`: event loops close it after they have called that.
        """
        data = bundle.deflated if self._deflates else bundle.websocket
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
        if self._open is not None and self._pong_due is None:
            self._send(self._open, rfc6455.PING)
            self._await_pong(self._written)

    def close(self, code: int, reason: str) -> None:
        if self._open is None:
            return
        self._send(self._open, rfc6455.close(code, reason))
        self._shut()
        self._state = _State.CLOSING
        # A peer that does not read will not answer either: wait a moment, not for ever.
        self._deadline = asyncio.get_running_loop().call_later(_CLOSING_SECONDS, self._abort)

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

    # the handshake

    def _answer(self, request: rfc6455.Request) -> None:
        url = urlsplit(request.target)
        page = self._pages(url.path)
        if page is not None:
            status, content_type, body = page
            self._respond(rfc6455.response(status, body, content_type))
            return
        if url.path != self._path:
            self._refuse(404, f"the WebSocket is at {self._path}")
            return
        headers = request.headers
        extensions = headers.get("sec-websocket-extensions", "")
        self._deflates = self._settings.compress and deflate.is_offered(extensions)
        try:
            accepted = rfc6455.upgrade(request, deflate.AGREED if self._deflates else "")
        except BadRequest as error:
            self._refuse(error.status, str(error))
            return
        judged = admit(
            url.query, origin=headers.get("origin"), host=headers.get("host"), settings=self._settings
        )
        if isinstance(judged, Refused):
            self._refuse(judged.status, judged.reason)
        elif not self._reception.accepting:
            self._reception.counts.refused += 1
            seconds = random.randint(*RETRY_SECONDS)  # noqa: S311  # no secret
            self._refuse(503, "not ready; try again", retry_after=str(seconds))
        elif self._transport is not None:
            self._send(self._transport, accepted)
            self._open, self._fd, self._state = self._transport, _descriptor(self._transport), _State.OPEN
            self._begin(judged.channels, judged.since)

    def _refuse(self, status: int, reason: str, **headers: str) -> None:
        self._respond(rfc6455.response(status, reason + "\n", **headers))

    def _respond(self, response: bytes) -> None:
        self._state = _State.OVER
        if self._transport is not None:
            self._transport.write(response)
            self._transport.close()

    def _begin(self, channels: tuple[str, ...], since: str | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        try:
            self._conversation = self._reception.connect(self, channels, since)
        except LogUnavailable as error:
            self.close(1013, str(error))

    # messages

    def _take_in(self, data: bytes) -> None:
        limits = self._settings
        reader = self._reader
        if reader is None:
            reader = self._reader = FrameReader(
                limits.message_bytes, limits.message_fragments, self._deflates
            )
        try:
            for received in reader.feed(data):
                self._take(received)
        except ProtocolError as error:
            self.close(error.code, str(error))
            self._hang_up()
        if reader.is_between_messages:
            self._reader = None

    def _take(self, received: Received) -> None:
        match received:
            case rfc6455.Message(text):
                if self._conversation is not None and self._open is not None:
                    self._conversation.received(text)
            case rfc6455.Ping(payload):
                if self._open is not None:
                    self._send(self._open, rfc6455.pong(payload))
            case rfc6455.Pong():
                if self._pong_due is not None:
                    self._pong_due.cancel()
                    self._pong_due = None
            case rfc6455.Close(code):
                self.close(code, "")
                self._hang_up()

    def _hang_up(self) -> None:
        """Both sides have said their last word: what is written still leaves."""
        self._shut()
        self._state = _State.OVER
        if self._transport is not None:
            self._transport.close()

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

    def _shut(self) -> None:
        """Let nothing be written any more."""
        self._open, self._fd = None, NO_FD

    def _await_pong(self, pinged: int) -> None:
        wait = self._settings.pong_timeout_seconds
        loop = asyncio.get_running_loop()
        self._pong_due = loop.call_later(wait, self._no_pong, pinged, self._sent)

    def _no_pong(self, pinged: int, sent: int) -> None:
        """Judge a peer that did not answer: `pinged` bytes led up to the ping, `sent` had gone by then."""
        self._pong_due = None
        if self._open is None:
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


def _descriptor(transport: asyncio.Transport) -> int:
    """Where bytes leave as they are; nowhere if they are encrypted, on Windows, or if some wait already."""
    raw: socket.socket | None = transport.get_extra_info("socket")
    encrypted = transport.get_extra_info("sslcontext") is not None
    if raw is None or encrypted or sys.platform == "win32" or transport.get_write_buffer_size():
        return NO_FD
    return raw.fileno()
