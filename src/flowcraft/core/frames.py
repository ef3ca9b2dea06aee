"""Frames: the messages of the wire, version 1 (`spec/protocol.md`), as values and as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, TypeAlias, assert_never

import msgspec

from flowcraft.cursors import Cursor, parse_xid
from flowcraft.errors import BadRequest, RealtimeError
from flowcraft.records import Ephemeral, Kind, Record

PROTOCOL_VERSION = 1


@dataclass(frozen=True, slots=True)
class Auth:
    """Send a token: the first one or a newer one."""

    token: str


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Subscribe to channels, after a cursor if one is given."""

    channels: tuple[str, ...]
    since: str | None = None
    ref: int | None = None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """End subscriptions to channels."""

    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Settle:
    """Ask for `settled` once a transaction's events have been delivered."""

    xid: int


ClientFrame: TypeAlias = Auth | Subscribe | Unsubscribe | Settle


_LARGEST_REF = 2**53 - 1
"""The largest integer that every JSON reader has exactly (RFC 8259 §6); others could not be answered."""
_Ref: TypeAlias = Annotated[int, msgspec.Meta(ge=-_LARGEST_REF, le=_LARGEST_REF)]


class _Incoming(msgspec.Struct, forbid_unknown_fields=True):
    auth: str | msgspec.UnsetType = msgspec.UNSET
    subscribe: list[str] | msgspec.UnsetType = msgspec.UNSET
    unsubscribe: list[str] | msgspec.UnsetType = msgspec.UNSET
    settle: str | msgspec.UnsetType = msgspec.UNSET
    since: str | None = None
    ref: _Ref | None = None


_decode = msgspec.json.Decoder(_Incoming).decode


def decode_client_frame(message: str | bytes) -> ClientFrame:
    """Decode one message of a client.

    Raises:
        BadRequest: the message is not JSON, not a frame, or two frames; the text names the wrong member.
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
        # dict.fromkeys, not a set: each name once, in the order of the client
        frames.append(Subscribe(tuple(dict.fromkeys(incoming.subscribe)), incoming.since, incoming.ref))
    if incoming.unsubscribe is not msgspec.UNSET:
        frames.append(Unsubscribe(tuple(incoming.unsubscribe)))
    if incoming.settle is not msgspec.UNSET:
        frames.append(Settle(_xid(incoming.settle)))
    if len(frames) != 1:
        raise BadRequest('a frame has exactly one of "auth", "subscribe", "unsubscribe", "settle"')
    return frames[0]


def encode_subscribe(request: Subscribe) -> bytes:
    """Return a subscription as a client sends it."""
    return _control(subscribe=request.channels, **_optional(since=request.since, ref=request.ref))


def _xid(text: str) -> int:
    xid = parse_xid(text)
    if xid is None:
        raise BadRequest('field "settle": expected a transaction id in decimal, as a string')
    return xid


def event(record: Record | Ephemeral) -> bytes:
    """Return an event, or what is sent in the place of one: a row that is gone, or a skipped event.

    The stored payload is inserted as it is, without parsing it.
    """
    head = b'{"channel":' + msgspec.json.encode(record.channel)
    if not isinstance(record, Record):
        return head + b',"payload":' + record.payload.encode() + b"}"
    return head + _content(record) + b',"id":%d}' % record.id


def _content(record: Record) -> bytes:
    match record.kind:
        case Kind.EVENT:
            return b',"payload":' + record.payload.encode()
        case Kind.GONE:
            return b',"gone":' + record.payload.encode()
        case Kind.SKIPPED:
            # The reason alone: the rest of the payload is for operators.
            return b',"skipped":' + _control(reason=record.reason)
        case Kind.RESET | Kind.WITHDRAWAL:
            raise ValueError(f"record {record.id} on {record.channel} is no event")
    assert_never(record.kind)


def hello(*, schema: str, heartbeat_seconds: float, cursor: Cursor) -> bytes:
    """Return the first frame of every connection."""
    whole = int(heartbeat_seconds)
    heartbeat = whole if whole == heartbeat_seconds else heartbeat_seconds
    return _control(
        hello={"protocol": PROTOCOL_VERSION, "schema": schema, "heartbeat": heartbeat, "cursor": str(cursor)}
    )


def commit_point(cursor: Cursor, n: int, at: datetime) -> bytes:
    """Return the frame that closes a batch of `n` live events; with 0 it is a heartbeat."""
    return _control(cursor=str(cursor), n=n, at=_timestamp(at))


def subscribed(channels: Sequence[str], cursor: Cursor, n: int, ref: int | None) -> bytes:
    """Return the frame that answers a subscription and closes its replay of `n` events."""
    return _control(subscribed=list(channels), cursor=str(cursor), n=n, **_optional(ref=ref))


def reset(channels: Sequence[str], reason: str, cursor: Cursor, ref: int | None) -> bytes:
    """Return the frame that has a client reload its state: events after its cursor are not sent."""
    return _control(reset=list(channels), reason=reason, cursor=str(cursor), **_optional(ref=ref))


def settled(xid: int, cursor: Cursor) -> bytes:
    """Return the frame that answers `settle`."""
    return _control(settled=str(xid), cursor=str(cursor))


def authenticated(expires_in: int | None) -> bytes:
    """Return the frame that answers an accepted `auth`, with the seconds until its token expires."""
    return _control(authenticated={"expires_in": expires_in})


def error(
    failure: RealtimeError,
    *,
    channel: str | None = None,
    channels: Sequence[str] = (),
    ref: int | None = None,
) -> bytes:
    """Return the frame for a request that failed, with one channel or several; the connection stays open."""
    names = _optional(channel=channel, channels=list(channels) or None, ref=ref)
    return _control(error={"code": failure.code, "message": str(failure), **names})


def bye(reconnect_after_ms: int) -> bytes:
    """Return the frame before a close for a drain."""
    return _control(bye={"reconnect_after_ms": reconnect_after_ms})


def _control(**members: object) -> bytes:
    return msgspec.json.encode(members)


def _optional(**members: object) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not None}


def _timestamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
