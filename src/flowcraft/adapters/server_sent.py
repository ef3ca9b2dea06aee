"""Server-Sent Events: the wire's messages as the lines of an event stream (WHATWG HTML §9.2).

Each message is one `data` line. A frame that closes a group has its cursor as `id`, which a browser sends
back as Last-Event-ID: a stream that broke inside a group begins again before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

GREETING = b"retry: 1000\n\n"
ANSWERS = (b'{"subscribed"', b'{"reset"')
"""How the frames begin that answer a subscription."""
_CLOSING = (*ANSWERS, b'{"cursor"')
_BYE = b'{"bye"'
_BREAKS = bytes.maketrans(b"\r\n", b"  ")
"""Within JSON they are white space between two tokens; here they would end the line."""


class _Positioned(msgspec.Struct):
    cursor: str


class _Bye(msgspec.Struct):
    reconnect_after_ms: int


class _Farewell(msgspec.Struct):
    bye: _Bye


_position = msgspec.json.Decoder(_Positioned).decode
_farewell = msgspec.json.Decoder(_Farewell).decode


def event(message: bytes, *, positioned: bool = True) -> bytes:
    """Return one message as an event; not `positioned` without an `id`."""
    data = b"data: %b\n\n" % message.translate(_BREAKS)
    if message.startswith(_BYE):
        return b"retry: %d\n%b" % (_farewell(message).bye.reconnect_after_ms, data)
    if positioned and message.startswith(_CLOSING):
        return b"id: %b\n%b" % (_position(message).cursor.encode(), data)
    return data


def close(code: int, reason: str) -> bytes:
    """Return the last event of a stream: what a WebSocket would have been closed with."""
    return b"event: close\ndata: %b\n\n" % msgspec.json.encode({"code": code, "reason": reason})


def events(messages: Sequence[bytes]) -> bytes:
    """Return messages as events; a `flowcraft.core.bundles.Framing`."""
    return b"".join(map(event, messages))


def events_before_answer(messages: Sequence[bytes]) -> bytes:
    """Return messages as events on a stream whose subscription has not been answered yet.

    Until then none has an `id`: a heartbeat may come before a replay, and its cursor would skip it.
    """
    positioned = bool(messages) and messages[-1].startswith(ANSWERS)
    return b"".join([event(message, positioned=positioned) for message in messages])


def has_position(data: bytes) -> bool:
    """Return whether one of the events has an `id`; the answer to a subscription is the first that has."""
    return data.startswith(b"id: ") or b"\n\nid: " in data
