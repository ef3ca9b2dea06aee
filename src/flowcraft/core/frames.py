"""Frames: the server's messages to one client. Events and commit points are in `bundles.py`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec

from flowcraft.core.bundles import Bundle
from flowcraft.core.states import State
from flowcraft.cursors import Cursor
from flowcraft.errors import RealtimeError, RowsLimitExceeded

PROTOCOL_VERSION = 1


def hello(*, schema: str, heartbeat_seconds: float, cursor: Cursor) -> bytes:
    """Return the first frame of every connection."""
    return _hello(schema, heartbeat_seconds, str(cursor))


@lru_cache(maxsize=4)  # of all clients that connect between two events
def _hello(schema: str, heartbeat_seconds: float, cursor: str) -> bytes:
    whole = int(heartbeat_seconds)
    heartbeat = whole if whole == heartbeat_seconds else heartbeat_seconds
    return _control(
        hello={"protocol": PROTOCOL_VERSION, "schema": schema, "heartbeat": heartbeat, "cursor": cursor}
    )


@lru_cache(maxsize=4)
def alone(message: bytes) -> Bundle:
    """Return a bundle of one control frame; those who connect at once share the frame, and its framing."""
    return Bundle((message,))


def rows(channel: str, key: Sequence[str], items: Iterable[str]) -> bytes:
    """Return the frame with rows of a channel, a part of its state; the items are inserted as they are."""
    head = _control(rows=channel, key=list(key))
    return b'%b,"items":[%b]}' % (head[:-1], ",".join(items).encode())


def subscribed(
    channels: Sequence[str], cursor: Cursor | str, n: int, ref: int | None, state: State | None = None
) -> bytes:
    """Return the frame that answers a subscription and closes its state and its replay of `n` events."""
    counts = {} if state is None else {"rows": state.count, **_optional(skipped=state.skipped or None)}
    return _control(subscribed=list(channels), cursor=str(cursor), n=n, **counts, **_optional(ref=ref))


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
    limit = failure.limit if isinstance(failure, RowsLimitExceeded) else None
    names = _optional(channel=channel, channels=list(channels) or None, limit=limit, ref=ref)
    return _control(error={"code": failure.code, "message": str(failure), **names})


def bye(reconnect_after_ms: int) -> bytes:
    """Return the frame before a close for a drain."""
    return _control(bye={"reconnect_after_ms": reconnect_after_ms})


def _control(**members: object) -> bytes:
    return msgspec.json.encode(members)


def _optional(**members: object) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not None}
