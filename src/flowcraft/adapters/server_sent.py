"""Server-Sent Events: the request for a stream, and messages as its lines (WHATWG HTML §9.2).

Each message is one `data` line. A frame that closes a batch has its cursor as `id`, which a browser sends
back as Last-Event-ID: a stream that broke inside a batch is replayed from before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from flowcraft.adapters.handshake import Admitted, Refused
from flowcraft.core.client_frames import Auth, Subscribe, decode_client_frame, encode_subscribe
from flowcraft.errors import BadRequest
from flowcraft.settings import Settings

PATH = "/events"
"""The path of event streams, below the path of the WebSocket."""
METHODS = ("GET", "HEAD", "POST", "OPTIONS")
"""The methods of that path."""
HEADERS = {
    "Content-Type": "text/event-stream",
    "X-Accel-Buffering": "no",  # otherwise nginx buffers events
}
"""The headers of a stream, beside those of every answer."""
BODY_BYTES = 256 * 1024
"""The longest content of a request: as much as may wait of one client while a guard decides."""
BODY_MESSAGES = 256
"""The most messages in a request: our client sends one for each subscription and each transaction."""
GREETING = b"retry: 1000\n\n"
"""The first event of every stream: a browser reconnects a second after it has lost the stream."""
ANSWERS = (b'{"subscribed"', b'{"reset"')
"""The first bytes of the frames that answer a subscription."""
_CLOSING = (*ANSWERS, b'{"cursor"')
_BYE = b'{"bye"'
_BREAKS = bytes.maketrans(b"\r\n", b"  ")
"""In JSON line breaks are white space between two tokens; in an event stream they would end the line."""


_TOKEN_CODES = (4401, 4500, 4501)
"""The close codes of a token that is refused or missing."""


class _Positioned(msgspec.Struct):
    cursor: str


class _Bye(msgspec.Struct):
    reconnect_after_ms: int


class _Farewell(msgspec.Struct):
    bye: _Bye


_position = msgspec.json.Decoder(_Positioned).decode
_farewell = msgspec.json.Decoder(_Farewell).decode


def event(message: bytes, *, positioned: bool = True) -> bytes:
    """Return one message as an event, without an `id` unless it is `positioned`."""
    data = b"data: %b\n\n" % message.translate(_BREAKS)
    if message.startswith(_BYE):
        return b"retry: %d\n%b" % (_farewell(message).bye.reconnect_after_ms, data)
    if positioned and message.startswith(_CLOSING):
        return b"id: %b\n%b" % (_position(message).cursor.encode(), data)
    return data


def close(code: int, reason: str) -> bytes:
    """Return the last event of a stream: the close code and reason that a WebSocket would get."""
    return b"event: close\ndata: %b\n\n" % msgspec.json.encode({"code": code, "reason": reason})


def unauthorized(code: int, reason: str) -> Refused | None:
    """Return the answer to a request whose stream would begin with a close; None if a stream has it.

    A token that is refused or missing is answered before the stream, with the code for the client.
    """
    if code not in _TOKEN_CODES:
        return None
    body = msgspec.json.encode({"code": code, "reason": reason}).decode()
    return Refused(401, body, {"Content-Type": "application/json", "WWW-Authenticate": "Bearer"})


def events(messages: Sequence[bytes]) -> bytes:
    """Return messages as events; a `flowcraft.core.frames.Framing`."""
    return b"".join(map(event, messages))


def events_before_answer(messages: Sequence[bytes]) -> bytes:
    """Return messages as events on a stream whose subscription has not been answered yet.

    Until the answer no event has an `id`: a heartbeat may be sent before a replay, and a client that resumed
    from the heartbeat's cursor would miss the replay.
    """
    positioned = bool(messages) and messages[-1].startswith(ANSWERS)
    return b"".join([event(message, positioned=positioned) for message in messages])


def has_position(data: bytes) -> bool:
    """Return whether one of the events has an `id`; the first such event answers the subscription."""
    return data.startswith(b"id: ") or b"\n\nid: " in data


def client_messages(
    method: str, headers: Mapping[str, str], body: bytes, url: Admitted, settings: Settings
) -> tuple[str, ...] | Refused:
    """Return the client's messages in a request, in order; names of headers are in lower case.

    GET subscribes to the channels of its URL, or to their rows, after Last-Event-ID or `since`. The content
    of a POST is what a client would send through a WebSocket, one message a line.
    """
    if url.rows and (url.channels or method == "POST"):
        return Refused(400, "bad request: rows has a GET of its own, without channel and without content")
    messages: list[str] = []
    token = _bearer_token(headers)
    if token is not None:
        messages.append(msgspec.json.encode({"auth": token}).decode())
    if url.channels or url.rows:
        since = headers.get("last-event-id") or url.since
        subscribe = Subscribe(url.channels or url.rows, since, rows=bool(url.rows))
        messages.append(encode_subscribe(subscribe).decode())
    elif method != "POST":
        return Refused(400, "bad request: expected channels, as in /realtime/events?channel=run_update")
    if method == "GET" and body:
        return Refused(400, "bad request: a GET has no content")
    content = _content_messages(body, settings.message_bytes)
    return content if isinstance(content, Refused) else (*messages, *content)


def credential_of(
    headers: Mapping[str, str], messages: Sequence[str]
) -> Literal["header", "content", "absent", "later"]:
    """Return where a request has its token; `messages` are the client's in it.

    A request without messages asks for nothing: a page tries by it whether streams pass a proxy, and sends
    its token with the next.
    """
    if not messages:
        return "later"
    if _bearer_token(headers) is not None:
        return "header"
    return "content" if any(map(_is_auth, messages)) else "absent"


def _bearer_token(headers: Mapping[str, str]) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _is_auth(message: str) -> bool:
    if "auth" not in message and "\\u" not in message:  # most are subscriptions: not decoded twice
        return False
    try:
        return isinstance(decode_client_frame(message), Auth)
    except BadRequest:
        return False


def _content_messages(body: bytes, longest: int) -> tuple[str, ...] | Refused:
    # Lines end with LF or CRLF alone: str.splitlines would split at U+2028, which may stand in a JSON string.
    if body.count(b"\n") + (not body.endswith(b"\n")) > BODY_MESSAGES:
        return Refused(413, f"content too large: at most {BODY_MESSAGES} lines, each one message")
    lines = [line.removesuffix(b"\r") for line in body.split(b"\n")]
    if any(len(line) > longest for line in lines):
        return Refused(413, f"content too large: a message has at most {longest} bytes")
    try:
        return tuple(line.decode() for line in lines if line)
    except UnicodeDecodeError:
        return Refused(400, "bad request: the content is not UTF-8; expected one JSON message a line")
