"""Request sockets: a client's socket up to the answer to its request, and how a refused one ends."""

from __future__ import annotations

import asyncio
import logging

from flowcraft.adapters import http
from flowcraft.adapters.accept_queue import AcceptQueue
from flowcraft.adapters.handshake import Refused
from flowcraft.adapters.http import Request, RequestReader
from flowcraft.adapters.sockets import PingedSocket
from flowcraft.adapters.stream_requests import BODY_BYTES
from flowcraft.ports import NodePort

logger = logging.getLogger(__name__)

REQUEST_SECONDS = 5.0
"""How long a request may take to arrive, its content included."""
_LINGER_SECONDS = 5.0
_LINGER_BYTES = 1024 * 1024


class RequestSocket(PingedSocket):
    """A client's socket that reads one request and answers it.

    Its subclass decides what becomes of the request: a connection, or a response, after which the socket
    lingers (RFC 9112 §9.6). It discards what still arrives, because closing with unread bytes would reset the
    connection and destroy the response before the client has read it.
    """

    def __init__(self, node: NodePort, accept_queue: AcceptQueue) -> None:
        super().__init__(node)
        self._accept_queue = accept_queue
        self._arriving: RequestReader | None = RequestReader(BODY_BYTES)
        """What has arrived of the request, until its answer begins."""
        self._is_queued = False
        """Whether its turn to be read is coming."""
        self._has_ended = False
        """Whether the client has closed its side."""
        self._is_paused = False
        """Whether nothing is read, because more has arrived than one request can have."""
        self._discarded = 0

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._deadline = asyncio.get_running_loop().call_later(REQUEST_SECONDS, self._time_out)

    def data_received(self, data: bytes) -> None:
        arriving = self._arriving
        if arriving is None:
            self._discard(len(data))
            return
        arriving.feed(data)
        if arriving.is_full and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
        self._queue()

    def eof_received(self) -> bool | None:
        """Answer a request that is there all the same: a client may close its side after it."""
        self._has_ended = True
        if self._arriving is None or self._arriving.is_empty:
            return None
        self._queue()
        return True

    # for the subclass

    def _judge(self, request: Request) -> Refused | None:
        """Refuse a request by its head, before its content is read."""
        raise NotImplementedError

    def _answer(self, request: Request, content: bytes) -> None:
        """Answer a request; either `_respond`, or `_begin_answer` and go on as a connection."""
        raise NotImplementedError

    def _begin_answer(self) -> None:
        self._arriving = None
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, refused: Refused) -> None:
        self._respond(http.response(refused.status, refused.reason + "\n", headers=refused.headers))

    def _respond(self, response: bytes) -> None:
        self._begin_answer()
        transport = self._transport
        if transport is None:
            return
        self._end_within(_LINGER_SECONDS)
        transport.write(response)
        if self._has_ended or not transport.can_write_eof():
            transport.close()
            return
        try:
            transport.write_eof()
        except OSError:  # asyncio's, where the client has reset the connection meanwhile
            transport.abort()

    # reading

    def _queue(self) -> None:
        if not self._is_queued:
            self._is_queued = True
            self._accept_queue.wait(self._read)

    def _read(self) -> None:
        """Read on, and answer the request once it is there."""
        self._is_queued = False
        arriving, transport = self._arriving, self._transport
        if arriving is None or transport is None:
            return
        try:
            self._advance(arriving, transport)
        except Exception:
            logger.exception("answering a request from %s failed; the connection is closed", self.address)
            self._fail()
        if self._is_paused and not transport.is_closing():  # now it has been answered
            self._is_paused = False
            transport.resume_reading()

    def _advance(self, arriving: RequestReader, transport: asyncio.Transport) -> None:
        request = arriving.request
        if request is None:
            request = self._read_head(arriving, transport)
        content = None if request is None else arriving.read_content(request)
        if request is not None and content is not None:
            self._answer(request, content)
            rest = arriving.rest()
            if rest:  # the first frames of a WebSocket; after any other request it is discarded
                self.data_received(rest)
        elif self._has_ended and self._arriving is not None:
            self._refuse(Refused(400, "bad request: the connection was closed before the request was whole"))
        if self._has_ended and self._arriving is None:
            transport.close()

    def _read_head(self, arriving: RequestReader, transport: asyncio.Transport) -> Request | None:
        head = arriving.read_head()
        refused = self._judge(head) if isinstance(head, Request) else head
        if refused is not None:
            self._refuse(refused)
            return None
        request = arriving.request
        if request is not None and arriving.is_awaited(request):
            transport.write(http.CONTINUE)
        return request

    # endings

    def _fail(self) -> None:
        if self._arriving is None:  # the client has the beginning of another answer
            self._abort()
        else:
            self._refuse(Refused(500, "internal server error"))

    def _time_out(self) -> None:
        if self._arriving is None or self._arriving.is_empty:
            self._abort()
        else:
            self._refuse(
                Refused(408, f"request timeout: a request arrives within {REQUEST_SECONDS:g} seconds")
            )

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > _LINGER_BYTES and not self._is_paused and self._transport is not None:
            self._is_paused = True  # what more is sent stays with the client, until the deadline ends it
            self._transport.pause_reading()
