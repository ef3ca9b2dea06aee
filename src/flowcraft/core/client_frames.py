"""Client frames: the messages that a client sends (`spec/protocol.md`), as values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import msgspec

from flowcraft.errors import BadRequest
from flowcraft.xids import parse_xid


class Auth(msgspec.Struct, frozen=True):
    """Send a token: the first one or a newer one."""

    token: str


class Subscribe(msgspec.Struct, frozen=True):
    """Subscribe to channels, after a cursor if one is given.

    With `rows` the client wants the rows of the channels, unless what follows its cursor can be sent. With
    `present` its viewer is present on them from then on.
    """

    channels: tuple[str, ...]
    since: str | None = None
    ref: int | None = None
    rows: bool = False
    present: bool = False


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """End subscriptions to channels."""

    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Absent:
    """Be present on channels no longer; their subscriptions go on."""

    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Settle:
    """Ask for `settled` once a transaction's events have been delivered."""

    xid: int


ClientFrame: TypeAlias = Auth | Subscribe | Unsubscribe | Absent | Settle


OLDEST = "oldest"
"""In the place of a cursor: everything that the log still has, then live."""
_LARGEST_REF = 2**53 - 1
"""The largest integer that every JSON reader has exactly (RFC 8259 §6); others could not be answered."""
_Ref: TypeAlias = Annotated[int, msgspec.Meta(ge=-_LARGEST_REF, le=_LARGEST_REF)]


class _Incoming(msgspec.Struct, forbid_unknown_fields=True):
    auth: str | msgspec.UnsetType = msgspec.UNSET
    subscribe: list[str] | msgspec.UnsetType = msgspec.UNSET
    unsubscribe: list[str] | msgspec.UnsetType = msgspec.UNSET
    absent: list[str] | msgspec.UnsetType = msgspec.UNSET
    settle: str | msgspec.UnsetType = msgspec.UNSET
    since: str | None = None
    rows: bool = False
    present: bool = False
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
    _refuse_repeated(message)
    frames: list[ClientFrame] = []
    if incoming.auth is not msgspec.UNSET:
        frames.append(Auth(incoming.auth))
    if incoming.subscribe is not msgspec.UNSET:
        # dict.fromkeys, not a set: each name once, in the order of the client
        names = tuple(dict.fromkeys(incoming.subscribe))
        frames.append(Subscribe(names, incoming.since, incoming.ref, incoming.rows, incoming.present))
    if incoming.unsubscribe is not msgspec.UNSET:
        frames.append(Unsubscribe(tuple(incoming.unsubscribe)))
    if incoming.absent is not msgspec.UNSET:
        frames.append(Absent(tuple(incoming.absent)))
    if incoming.settle is not msgspec.UNSET:
        frames.append(Settle(_xid(incoming.settle)))
    if len(frames) != 1:
        raise BadRequest('a frame has exactly one of "auth", "subscribe", "unsubscribe", "absent", "settle"')
    return frames[0]


def encode_subscribe(request: Subscribe) -> bytes:
    """Return a subscription as a client sends it."""
    members = {
        "subscribe": request.channels,
        "since": request.since,
        "rows": request.rows or None,
        "present": request.present or None,
        "ref": request.ref,
    }
    return msgspec.json.encode({name: value for name, value in members.items() if value is not None})


def _refuse_repeated(message: str | bytes) -> None:
    """Refuse a valid message that has a member twice: msgspec takes the last, other readers the first."""
    # No member of a frame is an object, so a message with one colon has one member.
    text = message if isinstance(message, str) else message.decode()
    if text.count(":") > 1:
        _MEMBERS.decode(text)


def error_of(message: bytes) -> BadRequest | None:
    """Return why a message is no frame; None if it is one."""
    try:
        decode_client_frame(message)
    except BadRequest as error:
        return error
    return None


def _unrepeated(members: list[tuple[str, object]]) -> None:
    known: set[str] = set()
    for name, _ in members:
        if name in known:
            raise BadRequest(f'field "{name}": expected once in a frame')
        known.add(name)


_MEMBERS = json.JSONDecoder(object_pairs_hook=_unrepeated)


def _xid(text: str) -> int:
    xid = parse_xid(text)
    if xid is None:
        raise BadRequest('field "settle": expected a transaction id in decimal, as a string')
    return xid
