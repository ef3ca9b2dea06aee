"""A wire: the client's end of one WebSocket, an asyncio protocol over the Sans-I/O one of `websockets`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import cast

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import OPEN
from websockets.uri import parse_uri

_CLOSING_SECONDS = 1.0
_MESSAGE_BYTES = 16 * 1024 * 1024
LOST_WITHOUT_CLOSE = 1006

# Silenced: the library logs errors that tests provoke on purpose.
_quiet = logging.getLogger(f"{__name__}.websockets")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


class _WithoutPongs(ClientProtocol):
    """Reads pings and sends no pongs."""

    def send_frame(self, frame: Frame) -> None:
        if frame.opcode is not Opcode.PONG:
            super().send_frame(frame)


class Wire(asyncio.Protocol):
    """One connection. Calls `opened` after the handshake, and `received` with each message."""

    def __init__(
        self,
        url: str,
        opened: Callable[[], None],
        received: Callable[[bytes], None],
        *,
        answers_pings: bool,
    ) -> None:
        self._uri = parse_uri(url)
        kind = ClientProtocol if answers_pings else _WithoutPongs
        self.lost: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """The close code, once the connection has ended."""
        self.refused: int | None = None
        """The HTTP status, if the server refused the handshake."""
        self._opened = opened
        self._received = received
        self._protocol = kind(self._uri, max_size=_MESSAGE_BYTES, logger=_quiet)
        self._transport: asyncio.Transport | None = None
        self._fragments: list[bytes] = []
        self._code: int | None = None
        self._deadline: asyncio.TimerHandle | None = None

    async def connect(self) -> None:
        """Connect, and begin the handshake.

        Raises:
            OSError: no server accepts the connection.
        """
        uri = self._uri
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, uri.host, uri.port, ssl=True if uri.secure else None)

    def send(self, message: bytes) -> None:
        """Send a text message, unless the connection is closing."""
        if self._protocol.state is OPEN and not self._dropped:
            self._protocol.send_text(message)
            self._flush()

    def drop(self, code: int) -> None:
        """Close from this side, without waiting for the server."""
        if self._transport is None or self._dropped:
            return
        self._code = code
        if self._protocol.state is OPEN and code != LOST_WITHOUT_CLOSE:
            self._protocol.send_close(code)
            self._flush()
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.close()

    def stop_reading(self) -> None:
        """Stop reading: messages and pings stay in the kernel's buffers."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # Callbacks of asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only
        self._protocol.send_request(self._protocol.connect())
        self._flush()

    def data_received(self, data: bytes) -> None:
        if self._dropped:
            return
        self._protocol.receive_data(data)
        self._take_events()
        self._flush()
        if self._protocol.close_expected() and self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(_CLOSING_SECONDS, self._abort)

    def eof_received(self) -> None:
        self._protocol.receive_eof()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's
        self._transport = None
        if self._deadline is not None:
            self._deadline.cancel()
        if not self.lost.done():
            close_frame = self._protocol.close_rcvd
            self.lost.set_result(
                self._code or (close_frame.code if close_frame is not None else LOST_WITHOUT_CLOSE)
            )

    @property
    def _dropped(self) -> bool:
        return self._code is not None

    def _take_events(self) -> None:
        for received in self._protocol.events_received():
            if self._dropped:  # by an earlier message
                return
            if isinstance(received, Frame):
                self._take(received)
            elif isinstance(received, Response):
                self._answered(received)

    def _answered(self, response: Response) -> None:
        if self._protocol.handshake_exc is None:
            self._opened()
        else:
            self.refused = response.status_code

    def _take(self, frame: Frame) -> None:
        if frame.opcode in {Opcode.TEXT, Opcode.CONT}:
            self._fragments.append(bytes(frame.data))
            if frame.fin:
                message, self._fragments = b"".join(self._fragments), []
                self._received(message)

    def _flush(self) -> None:
        if self._transport is None:
            return
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)
            else:
                with contextlib.suppress(OSError, RuntimeError):  # the peer may have closed first
                    self._transport.write_eof()

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
