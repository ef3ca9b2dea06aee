"""Frames: the messages of the wire, version 1 (`spec/protocol.md`), as values and as bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TypeAlias

import msgspec

from flowcraft.core import deflate, server_sent
from flowcraft.cursors import Cursor
from flowcraft.errors import BadRequest, RealtimeError
from flowcraft.records import Ephemeral, Record

PROTOCOL_VERSION = 1
TEXT, DEFLATED_TEXT = 0x81, 0xC1
"""First bytes of WebSocket frames: a whole text message, and one that is compressed."""


@dataclass(frozen=True, slots=True)
class Auth:
    """Prove, or prove again, who is speaking."""

    token: str


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Follow channels, after a cursor if one is given."""

    channels: tuple[str, ...]
    since: str | None = None
    ref: int | None = None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Follow channels no longer."""

    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Settle:
    """Tell when a transaction's events have been delivered."""

    xid: int


ClientFrame: TypeAlias = Auth | Subscribe | Unsubscribe | Settle


class _Incoming(msgspec.Struct, forbid_unknown_fields=True):
    auth: str | msgspec.UnsetType = msgspec.UNSET
    subscribe: list[str] | msgspec.UnsetType = msgspec.UNSET
    unsubscribe: list[str] | msgspec.UnsetType = msgspec.UNSET
    settle: str | msgspec.UnsetType = msgspec.UNSET
    since: str | None = None
    ref: int | None = None


_decode = msgspec.json.Decoder(_Incoming).decode


def decode_client_frame(message: str | bytes) -> ClientFrame:
    """Read what a client sent.

    Raises:
        BadRequest: it is not JSON, not a frame, or two at once; the text names the member at fault.
    """
    try:
        incoming = _decode(message)
    except msgspec.ValidationError as error:
        raise BadRequest(f"not a frame of the protocol: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadRequest("not JSON; a frame is one JSON object") from None
    frames: list[ClientFrame] = []
    if incoming.auth is not msgspec.UNSET:
        frames.append(Auth(incoming.auth))
    if incoming.subscribe is not msgspec.UNSET:
        # dict.fromkeys: a name that is listed twice is one subscription
        frames.append(Subscribe(tuple(dict.fromkeys(incoming.subscribe)), incoming.since, incoming.ref))
    if incoming.unsubscribe is not msgspec.UNSET:
        frames.append(Unsubscribe(tuple(incoming.unsubscribe)))
    if incoming.settle is not msgspec.UNSET:
        frames.append(Settle(_xid(incoming.settle)))
    if len(frames) != 1:
        raise BadRequest('a frame has exactly one of "auth", "subscribe", "unsubscribe", "settle"')
    return frames[0]


def _xid(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise BadRequest('field "settle": expected a transaction id in decimal, as a string')
    return int(text)


@dataclass(frozen=True, slots=True)
class Live:
    """What a live group says; without records it is a heartbeat."""

    records: tuple[Record, ...]
    cursor: Cursor
    at: datetime


class Bundle:
    """Messages that leave together, encoded once and shared by every connection they go to.

    `events` of them have an id; `live` is what they say if they are a live group. A heartbeat is not shared:
    each connection has its own count in it.
    """

    def __init__(self, messages: Iterable[bytes], events: int = 0, live: Live | None = None) -> None:
        self.messages: tuple[bytes, ...] = tuple(messages)
        self.events = events
        self.live = live
        self.is_shared = live is None or events > 0

    def counted(self, sent: int) -> Bundle:
        """Return it as it leaves on a connection after so many events: a heartbeat tells their number."""
        if self.is_shared:
            return self
        (point,) = self.messages
        return Bundle([b'%s,"sent":%d}' % (point[:-1], sent)], live=self.live)

    @cached_property
    def size(self) -> int:
        """Bytes of all messages, without the carrier's framing."""
        return sum(map(len, self.messages))

    @cached_property
    def websocket(self) -> bytes:
        """The messages as unmasked WebSocket text frames, joined (RFC 6455 §5.2)."""
        return b"".join(map(websocket_frame, self.messages))

    @cached_property
    def deflated(self) -> bytes:
        """The same where compression was agreed on: long messages are deflated (RFC 7692 §7.2.1)."""
        if all(len(message) < deflate.FROM_BYTES for message in self.messages):
            return self.websocket
        return b"".join(map(_deflated_frame, self.messages))

    @cached_property
    def event_stream(self) -> bytes:
        """The messages as Server-Sent Events, joined."""
        return b"".join(map(server_sent.event, self.messages))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bundle) and self.messages == other.messages

    __hash__ = None  # type: ignore[assignment]  # compared in tests, never a key

    def __repr__(self) -> str:
        return f"Bundle({[message.decode() for message in self.messages]})"


def websocket_frame(payload: bytes, first: int = TEXT) -> bytes:
    """Return one unmasked frame (RFC 6455 §5.2); `first` is its first byte."""
    length = len(payload)
    if length < 126:
        return bytes((first, length)) + payload
    if length < 65536:
        return bytes((first, 0x7E)) + length.to_bytes(2, "big") + payload
    return bytes((first, 0x7F)) + length.to_bytes(8, "big") + payload


def _deflated_frame(message: bytes) -> bytes:
    if len(message) < deflate.FROM_BYTES:
        return websocket_frame(message)
    return websocket_frame(deflate.deflate(message), DEFLATED_TEXT)


def event(record: Record | Ephemeral) -> bytes:
    """An event. The stored payload is spliced in as it is, not parsed."""
    head = b'{"channel":' + msgspec.json.encode(record.channel) + b',"payload":' + record.payload.encode()
    if isinstance(record, Record):
        return head + b',"id":%d}' % record.id
    return head + b"}"


def hello(*, schema: str, heartbeat_seconds: float, cursor: Cursor) -> bytes:
    """The first frame of every connection."""
    whole = int(heartbeat_seconds)
    heartbeat = whole if whole == heartbeat_seconds else heartbeat_seconds
    return _control(
        hello={"protocol": PROTOCOL_VERSION, "schema": schema, "heartbeat": heartbeat, "cursor": str(cursor)}
    )


def commit_point(cursor: Cursor, n: int, at: datetime) -> bytes:
    """Closes a group of live events; with `n` 0 a heartbeat."""
    return _control(cursor=str(cursor), n=n, at=_timestamp(at))


def subscribed(channels: Sequence[str], cursor: Cursor, n: int, ref: int | None) -> bytes:
    """Answers a subscription, and closes the group of its replay."""
    return _control(subscribed=list(channels), cursor=str(cursor), n=n, **_optional(ref=ref))


def reset(channels: Sequence[str], reason: str, cursor: Cursor, ref: int | None) -> bytes:
    """Says that a position cannot be bridged."""
    return _control(reset=list(channels), reason=reason, cursor=str(cursor), **_optional(ref=ref))


def settled(xid: int, cursor: Cursor) -> bytes:
    """Answers `settle`."""
    return _control(settled=str(xid), cursor=str(cursor))


def error(failure: RealtimeError, *, channel: str | None = None, ref: int | None = None) -> bytes:
    """A request failed; the connection stays open."""
    return _control(
        error={"code": failure.code, "message": str(failure), **_optional(channel=channel, ref=ref)}
    )


def bye(reconnect_after_ms: int) -> bytes:
    """The server is about to close."""
    return _control(bye={"reconnect_after_ms": reconnect_after_ms})


def _control(**members: object) -> bytes:
    return msgspec.json.encode(members)


def _optional(**members: object) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not None}


def _timestamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
