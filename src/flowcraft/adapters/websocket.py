"""WebSocket: the dedicated server's asyncio protocol, from the HTTP request to the close."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from functools import lru_cache, partial
from typing import Literal, TypeAlias
from urllib.parse import unquote

from flowcraft.adapters import deflate, http, rfc6455, server_sent
from flowcraft.adapters.cors import answer_headers, options
from flowcraft.adapters.event_stream import EventStreamConnection, StreamRequest
from flowcraft.adapters.handshake import Admitted, Refused, admit, handshake_of, method_not_allowed
from flowcraft.adapters.http import HttpAnswer, Request, normal_path
from flowcraft.adapters.pinged_socket import TOO_MUCH
from flowcraft.adapters.request_socket import AcceptQueue, RequestSocket
from flowcraft.adapters.rfc6455 import FrameReader, ProtocolError, Received
from flowcraft.adapters.sockets import deflated_text_frames
from flowcraft.carrier_ports import Entrance, NodePort
from flowcraft.core.rates import Bucket
from flowcraft.errors import LogUnavailable
from flowcraft.settings import Settings
from flowcraft.viewers import Handshake

_PINGS_PER_SECOND, _PINGS_AT_ONCE = 10.0, 64
_CLOSING_SECONDS = 1.0
"""A client that has not answered a close frame after this time is disconnected."""


class _State(Enum):
    """The states of a connection: reading a request, open, close frame sent, no longer read."""

    REQUEST = auto()
    OPEN = auto()
    CLOSING = auto()
    CLOSED = auto()


class WebSocketConnection(RequestSocket):
    """One client's socket, from its HTTP request to its last byte; a `flowcraft.carrier_ports.Connection`."""

    # Not `super`, here and in the classes below this: that lookup is a part of every handshake.

    _reader: FrameReader | None = None
    _unanswered: bytes | None = None
    """The payload of the latest ping, while earlier bytes still wait for the client."""
    _pings: Bucket | None = None
    """Of the client's pings and pongs; made for the first."""
    _deflates: bool = False
    """Whether permessage-deflate was negotiated."""

    def __init__(
        self,
        node: NodePort,
        path: str,
        pages: Callable[[str, Mapping[str, str]], HttpAnswer | None],
        accept_queue: AcceptQueue,
    ) -> None:
        RequestSocket.__init__(self, node, accept_queue)
        self._path = path
        self._pages = pages
        self._state = _State.REQUEST

    # asyncio's side

    def data_received(self, data: bytes) -> None:
        if self._state is _State.REQUEST:
            RequestSocket.data_received(self, data)
        elif self._state is not _State.CLOSED:
            self._feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._reader, self._arriving, self._unanswered = None, None, None
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        super().resume_writing()
        ping, self._unanswered = self._unanswered, None
        if ping is not None:
            self._answer_ping(ping)

    # the node's side (flowcraft.carrier_ports.Connection)

    def close(self, code: int, reason: str, rest: bytes = b"") -> None:
        if self._open is None:
            return
        self._send_gathered()
        self._open.write(rest + rfc6455.close(code, reason))
        self._stop_sending()
        self._state = _State.CLOSING
        if code == TOO_MUCH and self._transport is not None:
            # A client that floods is not read any longer, also if its close frame is in what it sends.
            self._state = _State.CLOSED
            self._transport.pause_reading()
        # A client that does not read the close frame does not answer it either.
        self._end_within(_CLOSING_SECONDS)

    # the handshake

    def _check(self, request: Request) -> Refused | None:
        place = _place(request.target.path, self._path)
        methods = _METHODS[place]
        if request.method not in methods:
            return method_not_allowed(methods)
        if request.content_length != 0 and request.method == "GET" and place != "other":
            return Refused(400, "bad request: a GET request has no content")
        return None

    def _answer(self, request: Request, content: bytes) -> None:
        place = _place(request.target.path, self._path)
        if request.method == "OPTIONS":
            self._answer_options(request, _METHODS[place])
        elif place == "socket":
            self._open_websocket(request)
        elif place == "stream":
            self._open_event_stream(request, content)
        elif (page := self._pages(_normal(request.target.path), request.headers)) is not None:
            status, content_type, body = page
            self._respond(status, body, content_type)
        else:
            events = f"{self._path}{server_sent.PATH}"
            self._refuse(Refused(404, f"not found: expected {self._path}, or {events} for events"))

    def _answer_options(self, request: Request, methods: Sequence[str]) -> None:
        answer = options(request.headers, methods, self._settings)
        if isinstance(answer, Refused):
            self._refuse(answer)
        else:
            self._respond(204, "", headers=answer)

    def _open_websocket(self, request: Request) -> None:
        headers = request.headers
        offered = headers.get("sec-websocket-extensions")
        deflates = offered is not None and self._settings.compress and deflate.is_offered(offered)
        accepted: bytes | Refused = rfc6455.UPGRADE_REQUIRED
        if request.method == "GET" and request.version != "1.0":
            accepted = rfc6455.upgrade(headers, deflate.AGREED if deflates else "")
        if isinstance(accepted, Refused):
            self._refuse(accepted)
            return
        admitted, transport = self._admit(request), self._transport
        if admitted is None or transport is None:
            return
        self._begin_answer()
        self._gather(transport, accepted)
        if deflates:
            self._deflates, self.framing = True, deflated_text_frames
        self._state = _State.OPEN
        self.client = admitted.address
        entrance = Entrance(partial(_handshake, request, admitted.address, self._settings), "later")
        try:
            self._gateway = self._node.connect(self, admitted.channels, admitted.since, entrance)
        except LogUnavailable as error:
            self.close(1013, str(error))
        self._send_gathered()

    def _open_event_stream(self, request: Request, content: bytes) -> None:
        admitted = self._admit(request)
        if admitted is None or self._transport is None:
            return
        headers = request.headers
        messages = server_sent.client_messages(request.method, headers, content, admitted, self._settings)
        if isinstance(messages, Refused):
            self._refuse(messages)
            return
        place = server_sent.credential_of(headers, messages)
        asked = StreamRequest(
            messages[:1] if request.method == "HEAD" and place == "header" else messages,
            Entrance(partial(_handshake, request, admitted.address, self._settings), place),
            answer_headers(headers, self._settings),
            is_head=request.method == "HEAD",
            has_ended=self._has_ended,
            rows=admitted.rows,
        )
        self._begin_answer()
        stream = EventStreamConnection(self._node, asked)
        stream.client = admitted.address
        self._transport.set_protocol(stream)
        stream.begin(self._transport)

    def _admit(self, request: Request) -> Admitted | None:
        """Admit a request, or send the refusal and return None."""
        admitted = admit(request.target.query, request.headers, self._node, self.address)
        if isinstance(admitted, Admitted):
            return admitted
        self._refuse(admitted)
        return None

    # messages

    def _feed(self, data: bytes) -> None:
        reader = self._reader
        if reader is None:
            fragments = self._settings.message_fragments
            reader = self._reader = FrameReader(self._message_bytes, fragments, self._deflates)
        try:
            for received in reader.feed(data):
                self._take(received)
                if self._state is _State.CLOSED:
                    break
                reader.max_bytes = self._message_bytes  # a token raises the limit
        except ProtocolError as error:
            self.close(error.code, str(error))
            self._end()
        if reader.is_between_messages:
            self._reader = None

    def _take(self, received: Received) -> None:
        match received:
            case rfc6455.Message(text):
                if self._gateway is not None and self._open is not None:
                    self._gateway.received(text)
            case rfc6455.Ping() | rfc6455.Pong() if not self._may_ping():
                self.close(TOO_MUCH, f"at most {_PINGS_PER_SECOND:g} pings a second")
            case rfc6455.Ping(payload):
                self._answer_ping(payload)
            case rfc6455.Pong():
                self._is_alive()
            case rfc6455.CloseFrame(code):
                self.close(code, "")
                self._end()

    def _may_ping(self) -> bool:
        if self._pings is None:
            self._pings = Bucket(_PINGS_PER_SECOND, _PINGS_AT_ONCE)
        return self._pings.take(1, asyncio.get_running_loop().time())

    @property
    def _message_bytes(self) -> int:
        gateway = self._gateway
        return self._settings.message_bytes if gateway is None else gateway.message_bytes

    def _answer_ping(self, payload: bytes) -> None:
        """Answer a ping at once, or only the latest one if bytes wait for the client (RFC 6455 §5.5.3)."""
        if self.waiting_bytes:
            self._unanswered = payload
        elif self._open is not None and not self._open.is_closing():
            self._open.write(rfc6455.pong(payload))

    def _end(self) -> None:
        """Close the transport after the closing handshake; bytes that were written are still sent."""
        self._stop_sending()
        self._state = _State.CLOSED
        if self._transport is not None:
            self._transport.close()


_Place: TypeAlias = Literal["socket", "stream", "other"]
_METHODS: Mapping[_Place, tuple[str, ...]] = {
    "socket": http.METHODS,
    "stream": server_sent.METHODS,
    "other": http.METHODS,
}


@lru_cache(maxsize=64)  # asked for twice for each request
def _place(path: str, own: str) -> _Place:
    """Return what is at a path, also below a prefix that a proxy has not taken off."""
    path, own = _normal(path), own.rstrip("/")
    if path.endswith(own + server_sent.PATH):
        return "stream"
    is_own = path.endswith(own) if own else path == "/"
    return "socket" if is_own else "other"


def _normal(path: str) -> str:
    return normal_path(unquote(path))


def _handshake(request: Request, address: str, settings: Settings) -> Handshake:
    """Return an admitted request for the authorizer."""
    return handshake_of(_normal(request.target.path), request.headers, address, settings)
