"""Request sockets: read one HTTP request from a socket, in turn with others, and answer it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from itertools import takewhile

from flowcraft.adapters import http
from flowcraft.adapters.cors import answer_headers
from flowcraft.adapters.handshake import Refused
from flowcraft.adapters.http import Request, RequestReader
from flowcraft.adapters.pinged_socket import PingedSocket
from flowcraft.adapters.server_sent import BODY_BYTES
from flowcraft.adapters.sockets import text_frames
from flowcraft.carrier_ports import NodePort

logger = logging.getLogger(__name__)

REQUEST_SECONDS = 5.0
"""A request must have arrived within this time, its content included."""
HANDSHAKES_PER_TURN = 16
"""Handshakes of about 0.1 ms each between two turns of everything else in the event loop."""
_GATHER_SECONDS = 0.002
"""The longest that a handshake waits for others."""
_LINGER_SECONDS = 5.0
"""A client has this long to read an error response and close; then the connection is reset."""
_LINGER_BYTES = 1024 * 1024
"""Bytes that are read and discarded meanwhile; after more, reading stops."""


class RequestSocket(PingedSocket):
    """A client's socket that reads one request and answers it.

    A subclass makes the request a connection, or sends a response, after which the socket lingers (RFC 9112
    §9.6): it discards what still arrives, because closing with unread bytes would reset the connection and
    destroy the response before the client has read it.
    """

    _discarded: int = 0

    def __init__(self, node: NodePort, accept_queue: AcceptQueue) -> None:
        PingedSocket.__init__(self, node, text_frames)
        self._is_queued = False
        """Whether it waits in the accept queue."""
        self._has_ended = False
        """Whether the client has closed its sending side."""
        self._is_paused = False
        """Whether reading has stopped: more has arrived than the longest request."""
        self._accept_queue = accept_queue
        self._has_limited_buffer = accept_queue.has_limited_buffers
        self._arriving: RequestReader | None = RequestReader(BODY_BYTES)
        """The part of the request that has arrived; None once the answer begins."""

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        PingedSocket.connection_made(self, transport)
        self._accept_queue.deadlines.add(self, REQUEST_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._accept_queue.deadlines.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        arriving = self._arriving
        if arriving is None:
            self._discard(len(data))
            return
        if arriving.feed(data) and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
        if not self._is_queued:
            self._enqueue()

    def eof_received(self) -> bool | None:
        """Answer a request that has arrived: a client may close its sending side after it."""
        self._has_ended = True
        if self._arriving is None or self._arriving.is_empty:
            return None
        if not self._is_queued:
            self._enqueue()
        return True

    # for the subclass

    def _check(self, request: Request) -> Refused | None:
        """Return why a request is refused by its head, before its content is read; None if it is not."""
        raise NotImplementedError

    def _answer(self, request: Request, content: bytes) -> None:
        """Answer a request: call `_respond`, or `_begin_answer` and go on as a connection."""
        raise NotImplementedError

    def _begin_answer(self) -> None:
        self._arriving = None
        self._accept_queue.deadlines.discard(self)

    def _refuse(self, refused: Refused) -> None:
        self._respond(refused.status, refused.reason + "\n", headers=refused.headers)

    def _respond(
        self, status: int, body: str, content_type: str = http.TEXT, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a whole response to the request whose head has arrived, or to what is no request."""
        arriving = self._arriving
        fields: Mapping[str, str] = {} if arriving is None else arriving.headers
        method = "" if arriving is None else arriving.method
        headers = answer_headers(fields, self._settings) | dict(headers or {})
        self._send_last(http.response(status, body, content_type, headers, is_head=method == "HEAD"))

    def _send_last(self, response: bytes) -> None:
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

    def _enqueue(self) -> None:
        self._is_queued = True
        self._accept_queue.put(self.read_request)

    def read_request(self) -> None:
        """Read what has arrived, and answer the request once it is complete; the accept queue calls this."""
        self._is_queued = False
        arriving, transport = self._arriving, self._transport
        if arriving is None or transport is None:
            return
        try:
            self._advance(arriving, transport)
        except Exception:
            logger.exception("answering a request from %s failed; the connection is closed", self.address)
            self._fail()
        if self._is_paused and not transport.is_closing():  # the request has been answered
            self._is_paused = False
            transport.resume_reading()

    def _advance(self, arriving: RequestReader, transport: asyncio.Transport) -> None:
        request = arriving.request
        if request is None:
            request = self._read_head(arriving, transport)
        content = None if request is None else arriving.read_content(request)
        if isinstance(content, Refused):
            self._refuse(content)
        elif request is not None and content is not None:
            self._answer(request, content)
            rest = arriving.rest()
            if rest:  # the first frames of a WebSocket; after any other request they are discarded
                self.data_received(rest)
        elif self._has_ended and self._arriving is not None:
            self._refuse(
                Refused(400, "bad request: the connection was closed before the request was complete")
            )
        if self._has_ended and self._arriving is None and transport.get_protocol() is self:
            transport.close()  # an event stream closes it itself, perhaps after it has checked a token

    def _read_head(self, arriving: RequestReader, transport: asyncio.Transport) -> Request | None:
        head = arriving.read_head()
        refused = self._check(head) if isinstance(head, Request) else head
        if refused is not None:
            self._refuse(refused)
            return None
        request = arriving.request
        if request is not None and arriving.awaits_continue(request):
            transport.write(http.CONTINUE)
        return request

    # endings

    def _fail(self) -> None:
        if self._arriving is None:  # another response has begun: a second one cannot follow
            self._abort()
        else:
            self._send_last(http.response(500, "internal server error\n"))

    def time_out(self) -> None:
        """Answer that the request has not arrived in time."""
        if self._arriving is None or self._arriving.is_empty:
            self._abort()
        else:
            self._refuse(request_timeout())

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > _LINGER_BYTES and not self._is_paused and self._transport is not None:
            self._is_paused = True  # the rest stays in the client's send buffer until the deadline
            self._transport.pause_reading()


def request_timeout() -> Refused:
    """Return the refusal of a request that has not arrived in time."""
    return Refused(408, f"request timeout: a request arrives within {REQUEST_SECONDS:g} seconds")


class AcceptQueue:
    """Runs waiting handshakes in order, a few at a turn of the event loop. One for each server.

    An event loop runs every callback that is ready before it goes on. When thousands of clients reconnect at
    once, that would be seconds of handshakes before the next event is sent to the clients that are connected.

    While each turn brings one more, a few are gathered, because event loops accept one client a turn: what
    handshakes need is then in the processor's caches, and each takes an eighth less.
    """

    def __init__(self, *, has_limited_buffers: bool = False) -> None:
        self.has_limited_buffers = has_limited_buffers
        """Whether the listening sockets had `limit_send_buffer`."""
        self.deadlines = RequestDeadlines()
        self._waiting: deque[Callable[[], None]] = deque()
        self._turn: asyncio.Handle | None = None
        self._gathered = 0
        """How many waited at the last turn."""
        self._gather_until = 0.0

    def put(self, handshake: Callable[[], None]) -> None:
        """Have a handshake run when its turn has come."""
        self._waiting.append(handshake)
        if self._turn is None:
            loop = asyncio.get_running_loop()
            self._gather_until = loop.time() + _GATHER_SECONDS
            self._turn = loop.call_soon(self._run_some)

    def _run_some(self) -> None:
        loop, waiting = asyncio.get_running_loop(), self._waiting
        self._turn = None
        if self._gathered < len(waiting) < HANDSHAKES_PER_TURN and loop.time() < self._gather_until:
            self._gathered = len(waiting)
            self._turn = loop.call_soon(self._run_some)
            return
        try:
            for _ in range(min(HANDSHAKES_PER_TURN, len(waiting))):
                waiting.popleft()()
        finally:  # one that raises must not stop the others
            self._gathered = len(waiting)
            if waiting:
                self._turn = loop.call_soon(self._run_some)


class RequestDeadlines:
    """The sockets whose requests have not arrived, with one timer for all: they end as they began.

    A timer for each would be 1 µs to set and 1 µs to cancel, of about 80 µs for a whole handshake.
    """

    def __init__(self) -> None:
        self._ends: dict[RequestSocket, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, sock: RequestSocket, seconds: float) -> None:
        """Have a socket time out after so many seconds, the same for all."""
        loop = asyncio.get_running_loop()
        end = self._ends[sock] = loop.time() + seconds
        if self._timer is None:
            self._timer = loop.call_at(end, self._end_some)

    def discard(self, sock: RequestSocket) -> None:
        """Forget a socket: its request has arrived, or it has ended."""
        self._ends.pop(sock, None)

    def _end_some(self) -> None:
        loop = asyncio.get_running_loop()
        late = list(takewhile(lambda one: one[1] <= loop.time(), self._ends.items()))
        try:
            for sock, _ in late:
                self.discard(sock)
                sock.time_out()
        finally:  # one that raises must not stop the others
            earliest = next(iter(self._ends.values()), None)
            self._timer = None if earliest is None else loop.call_at(earliest, self._end_some)
