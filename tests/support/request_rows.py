"""A row of the table of requests: what is sent, and the answer of each server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flowcraft.settings import Settings

LISTED = "https://app.example.com"
SETTINGS = Settings(drain_seconds=0.01, allowed_origins=(LISTED, "http://localhost:5173"))
OWN = Settings(drain_seconds=0.01)
WITH_TOKENS = Settings(drain_seconds=0.01, allowed_origins=(LISTED,), auth_timeout_seconds=600)
"""Of a server that wants tokens. A missing one is answered at once, not after this time-out."""

# The answers


@dataclass(frozen=True)
class Answer:
    """What a request must be answered with: its status, some headers (None: absent), and its body."""

    status: int
    body: str = "text"
    """text: as long as it says; none: no byte; stream: the first event of a stream."""
    headers: Mapping[str, str | None] = field(default_factory=dict[str, str | None])


OK, ERROR = Answer(200), Answer(400)
EMPTY = Answer(200, "none")
STREAM = Answer(200, "stream", {"content-type": "text/event-stream", "x-accel-buffering": "no"})
STREAM_HEAD = Answer(200, "none", STREAM.headers)
SWITCHED = Answer(101, "none", {"upgrade": "websocket"})
NOT_FOUND, TOO_LARGE, LONG_URI, LONG_HEAD = Answer(404), Answer(413), Answer(414), Answer(431)
FORBIDDEN = Answer(403, "text", {"access-control-allow-origin": None})
UPGRADE = Answer(426, "text", {"sec-websocket-version": "13"})
UPGRADE_HEAD = Answer(426, "none", {"sec-websocket-version": "13"})
ALLOW_PAGE = {"allow": "GET, HEAD, OPTIONS"}
ALLOW_STREAM = {"allow": "GET, HEAD, POST, OPTIONS"}
NO_METHOD = Answer(405, "text", ALLOW_PAGE)
NO_STREAM_METHOD = Answer(405, "text", ALLOW_STREAM)
OPTIONS = Answer(204, "none", ALLOW_PAGE | {"access-control-allow-origin": None})
OPTIONS_STREAM = Answer(204, "none", ALLOW_STREAM | {"access-control-allow-origin": None})
READABLE: dict[str, str | None] = {
    "access-control-allow-origin": LISTED,
    "access-control-allow-credentials": "true",
    "vary": "Origin",
}
KNOWN_HEADERS = "Authorization, Cache-Control, Content-Type, Last-Event-ID"
PREFLIGHT = Answer(
    204,
    "none",
    {
        "access-control-allow-origin": LISTED,
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": "GET, HEAD, POST, OPTIONS",
        "access-control-allow-headers": KNOWN_HEADERS,
        "access-control-max-age": "7200",
        "access-control-allow-private-network": None,
        "vary": "Origin, Access-Control-Request-Headers",
    },
)


UNAUTHORIZED = Answer(401, "text", {"www-authenticate": "Bearer", "content-type": "application/json"})
UNAUTHORIZED_HEAD = Answer(401, "none", UNAUTHORIZED.headers)


def with_headers(answer: Answer, headers: Mapping[str, str | None]) -> Answer:
    return Answer(answer.status, answer.body, {**answer.headers, **headers})


@dataclass(frozen=True)
class Row:
    """A request, the answer of every door, and that of an ASGI server which differs."""

    sent: bytes
    answer: Answer
    host: dict[str, int] = field(default_factory=dict[str, int])
    """By parser of uvicorn: the status of its own answer, or of ours to what it reads; 0: it resets."""
    settings: Settings = SETTINGS


def head(line: str, *fields: str, host: str | None = "Host: here.example", body: bytes = b"") -> bytes:
    named = [line, *([] if host is None else [host]), *fields]
    return "\r\n".join([*named, "", ""]).encode("latin-1") + body


EVENTS = "/realtime/events?channel=ping_update"
GET = "GET {at}/healthz HTTP/1.1"
STREAMED = f"GET {EVENTS} HTTP/1.1"
POST = "POST /realtime/events HTTP/1.1"
SUBSCRIBE = b'{"subscribe":["ping_update"]}'
LENGTH = f"Content-Length: {len(SUBSCRIBE)}"
SOCKET = "GET /realtime HTTP/1.1"
HANDSHAKE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)
ORIGIN = f"Origin: {LISTED}"
H11, TOOLS = "h11", "httptools"
BY_HOST = {H11: 400, TOOLS: 400}


def posted(*fields: str, body: bytes = SUBSCRIBE, line: str = POST) -> bytes:
    return head(line, *fields, body=body)


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    pieces = [b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks]
    return posted("Transfer-Encoding: chunked", body=b"".join(pieces) + end)
