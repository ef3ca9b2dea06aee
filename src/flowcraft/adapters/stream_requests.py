"""Event streams: one client's conversation over HTTP alone, and how a request begins it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from flowcraft.adapters.handshake import Admitted, Refused
from flowcraft.core.frames import Subscribe, encode_subscribe
from flowcraft.settings import Settings

BELOW = "/events"
"""Where streams are, after the path of the WebSocket."""
BODY_BYTES = 256 * 1024
"""The longest content of a request."""
MESSAGES = 256
"""The most messages in it: our client has one for each subscription and each transaction it waits for."""


def response_headers(origin: str | None) -> dict[str, str]:
    """Return the headers of the answer; `origin` is the request's, which was admitted."""
    headers = {
        "Content-Type": "text/event-stream",
        "Cache-Control": "no-store",
        "X-Accel-Buffering": "no",  # nginx passes events on as they come
    }
    if origin is not None:
        headers |= {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
    return headers


def opening(
    method: str, headers: Mapping[str, str], body: bytes, url: Admitted, settings: Settings
) -> tuple[str, ...] | Refused:
    """Return the client's messages that a request stands for, in order; names of headers in lower case.

    GET subscribes the channels of its URL, after Last-Event-ID or `since`. A POST's body is what a client
    would have sent through a WebSocket, one message a line; its answer is all that it will hear.
    """
    messages: list[str] = []
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        messages.append(msgspec.json.encode({"auth": token.strip()}).decode())
    if url.channels:
        since = headers.get("last-event-id") or url.since
        messages.append(encode_subscribe(Subscribe(url.channels, since)).decode())
    elif method == "GET":
        return Refused(400, "name channels: /realtime/events?channel=run_update&channel=runs.42")
    if method == "GET" and body:
        return Refused(400, "bad request: a GET has no content")
    content = _messages(body, settings.message_bytes)
    return content if isinstance(content, Refused) else (*messages, *content)


def _messages(body: bytes, longest: int) -> tuple[str, ...] | Refused:
    # Lines end with LF or CRLF alone: str.splitlines would split at U+2028, which may stand in a JSON string.
    if body.count(b"\n") > MESSAGES:
        return Refused(413, f"content too large: at most {MESSAGES} messages, one a line")
    lines = [line.removesuffix(b"\r") for line in body.split(b"\n")]
    if any(len(line) > longest for line in lines):
        return Refused(413, f"content too large: a message has at most {longest} bytes")
    try:
        return tuple(line.decode() for line in lines if line)
    except UnicodeDecodeError:
        return Refused(400, "bad request: the content is not UTF-8; it is one JSON message a line")
