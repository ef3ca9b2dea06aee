"""Frames: the server's messages, encoded once for all their recipients, and long replays in pages.

`Encoder` turns the hub's effects into bundles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import TypeAlias, assert_never

import msgspec

from flowcraft.core.counts import Counts
from flowcraft.core.hub_effects import (
    Deliver,
    DeliverEphemeral,
    Outgoing,
    Reset,
    SessionId,
    Settled,
    Subscribed,
)
from flowcraft.core.states import State
from flowcraft.cursors import Cursor
from flowcraft.errors import RealtimeError, RowsLimitExceeded
from flowcraft.records import Ephemeral, Kind, Record

PROTOCOL_VERSION = 1
Framing: TypeAlias = Callable[[Sequence[bytes]], bytes]
"""Turns messages into a carrier's bytes; they depend on the messages alone, so connections share them."""

PAGE_BYTES = 64 * 1024
"""About the size of one write to a slow client: a quarter of the kernel's send buffer."""
SMALL_STATE_BYTES = 4 * 1024
"""A state up to this size is copied into one write with what follows it; the bytes of others are shared."""
_FRAME_BYTES = 64
"""About the bytes of an event's frame without its payload."""


class _Framed(dict[Framing, bytes]):
    """The bytes of a bundle by framing, made at the first lookup.

    A dict with `__missing__` instead of a method: a hit takes 25 ns, of 1 µs of Python per recipient.
    """

    def __init__(self, messages: tuple[bytes, ...]) -> None:
        self._messages = messages

    def __missing__(self, framing: Framing) -> bytes:
        framed = self[framing] = framing(self._messages)
        return framed


@dataclass(frozen=True, slots=True)
class Live:
    """The content of a live batch; without records it is a heartbeat."""

    records: tuple[Record, ...]
    cursor: Cursor
    at: datetime


class Bundle:
    """Messages that are sent together, encoded once and shared by every recipient.

    `events` is how many of them are events with an id; `live` is the content of a live batch. A heartbeat is
    not shared, because it contains the number of events sent on its connection.
    """

    def __init__(self, messages: Iterable[bytes], events: int = 0, live: Live | None = None) -> None:
        self.messages: tuple[bytes, ...] = tuple(messages)
        self.events = events
        self.live = live
        self.is_shared = live is None or events > 0
        self.framed = _Framed(self.messages)
        """The bytes by framing."""

    def counted(self, sent: int) -> Bundle:
        """Return the bundle for a connection after `sent` events: a heartbeat contains that number."""
        if self.is_shared:
            return self
        (point,) = self.messages
        return Bundle([b'%s,"sent":%d}' % (point[:-1], sent)], live=self.live)

    @cached_property
    def size(self) -> int:
        """The bytes of all messages, without the carrier's framing."""
        return sum(map(len, self.messages))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bundle) and self.messages == other.messages

    __hash__ = None  # type: ignore[assignment]  # compared in tests, never a key

    def __repr__(self) -> str:
        return f"Bundle({[message.decode() for message in self.messages]})"


class Pages:
    """The events of one replay and the frame that closes it, encoded page by page as the client reads.

    Clients whose replays come from the same read share its records; each has only one page of its own in
    memory, however slowly it reads. On the wire the replay is one batch: pages are not visible there. Before
    the events stand the pages of a state, which all of its clients share.
    """

    def __init__(
        self, records: Sequence[Record], closing: bytes, size: int, state: State | None = None
    ) -> None:
        self._records = records
        self.state = state
        """The state with pages that have not been taken; None once all have."""
        self._next_of_state = 0
        self._closing = closing
        self.size = size
        """About how many bytes all pages have together."""
        self._next = 0
        self.is_sent = False
        """Whether the last page has been taken."""

    def take(self) -> Bundle:
        """Return the next page; the last one ends with the closing frame."""
        if self.state is not None:
            page = self.state.pages[self._next_of_state]
            self._next_of_state += 1
            if self._next_of_state == len(self.state.pages):
                self.state = None
            return page
        messages: list[bytes] = []
        size, first = 0, self._next
        while self._next < len(self._records) and size < PAGE_BYTES:
            messages.append(event(self._records[self._next]))
            size += len(messages[-1])
            self._next += 1
        if self._next == len(self._records):
            messages.append(self._closing)
            self.is_sent = True
        return Bundle(messages, self._next - first)


Part: TypeAlias = Bundle | Pages


class Encoder:
    """Encodes the effects of one step of the hub; use a new one for the next."""

    def __init__(self, counts: Counts | None = None) -> None:
        self._encoded: dict[tuple[int, str], bytes] = {}
        self._counts = counts or Counts()

    def encode(self, effect: Outgoing) -> tuple[Part, tuple[SessionId, ...]]:
        """Return the messages of an effect, in pages if it is a long replay, and their recipients."""
        part, to = self._encode(effect)
        self._counts.sent_bytes += part.size * len(to)
        return part, to

    def _encode(self, effect: Outgoing) -> tuple[Part, tuple[SessionId, ...]]:
        match effect:
            case Deliver(records, cursor, at, to):
                self._counts.live += len(records) * len(to)
                live = Live(records, cursor, at)
                return self._batch(records, commit_point(cursor, len(records), at), live), to
            case DeliverEphemeral(ephemeral, to):
                self._counts.ephemeral += len(to)
                return Bundle([event(ephemeral)]), to
            case Subscribed(session, channels, records, cursor, ref, state):
                if not records and state is None:
                    return _answer(channels, str(cursor), ref), (session,)
                self._counts.replayed += len(records)
                self._counts.states += state is not None
                closing = subscribed(channels, cursor, len(records), ref, state)
                return self._subscribed(records, closing, state), (session,)
            case Reset(session, channels, reason, cursor, ref):
                self._counts.resets[reason] += 1
                return Bundle([reset(channels, reason, cursor, ref)]), (session,)
            case Settled(session, xid, cursor):
                return Bundle([settled(xid, cursor)]), (session,)
        assert_never(effect)

    def _subscribed(self, records: tuple[Record, ...], closing: bytes, state: State | None) -> Part:
        size = sum(len(record.payload) + _FRAME_BYTES for record in records)
        state_size = 0 if state is None else sum([page.size for page in state.pages])
        if size > PAGE_BYTES or state_size > SMALL_STATE_BYTES:
            return Pages(records, closing, size + state_size, state)
        messages = [] if state is None else [message for page in state.pages for message in page.messages]
        return Bundle([*messages, *map(self._event, records), closing], len(records))

    def _batch(self, records: tuple[Record, ...], closing: bytes, live: Live | None = None) -> Bundle:
        return Bundle([*map(self._event, records), closing], len(records), live)

    def _event(self, record: Record) -> bytes:
        key = record.id, record.channel  # an event skipped for a family has one id on all of its channels
        message = self._encoded.get(key)
        if message is None:
            message = self._encoded[key] = event(record)
        return message


def event(record: Record | Ephemeral) -> bytes:
    """Return an event, or what is sent in the place of one: a row that is gone, a count, a skipped event.

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
            # The reason and the key alone: the rest of the payload is for operators.
            return b',"skipped":' + _control(reason=record.reason, **_optional(key=record.key))
        case Kind.COUNT:
            return b',"count":%d' % record.count
        case Kind.RESET | Kind.WITHDRAWAL:
            raise ValueError(f"record {record.id} on {record.channel} is no event")
    assert_never(record.kind)


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


@lru_cache(maxsize=64)  # pages of one application ask for the same channels, with the same ref
def _answer(channels: tuple[str, ...], cursor: str, ref: int | None) -> Bundle:
    """Return the answer to a subscription that has no replay and no rows."""
    return Bundle([subscribed(channels, cursor, 0, ref)])


@lru_cache(maxsize=4)
def alone(message: bytes) -> Bundle:
    """Return a bundle of one control frame; those who connect at once share the frame, and its framing."""
    return Bundle((message,))


def commit_point(cursor: Cursor, n: int, at: datetime) -> bytes:
    """Return the frame that closes a batch of `n` live events; with 0 it is a heartbeat."""
    return _control(cursor=str(cursor), n=n, at=_timestamp(at))


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


def _timestamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
