"""The reference client: the client's side of `spec/protocol.md` without a network; it records histories.

Each subscription holds its cursor and, while the connection is open, the `ref` of the reply that it waits
for, or LIVE. A group is buffered until the frame that closes it: a commit point delivers it to all live
subscriptions, `subscribed` only to the subscriptions of that replay. So after a lost connection the client
drops the open group and subscribes again from each cursor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import TypeAlias, TypeVar

import msgspec

from faults.histories import Began, Ended, History, Received, Tag, WasReset
from flowcraft.cursors import Cursor
from flowcraft.errors import CursorMalformed

ClientRequest: TypeAlias = dict[str, object]
OnEvent: TypeAlias = Callable[[str, str, float], None]
"""Called with each event that a handler would receive: its channel, its payload as sent, the time."""

_IDLE, _LIVE, _REFUSED, _NONE = 0, -1, -2, -3
_SETTLES_AT_A_TIME = 32
"""Fewer than a server allows by default; further requests wait for the replies."""


class FrameRejected(Exception):
    """The server sent a malformed frame or a wrong count of events: close (4002) and resume."""


class _EventFrame(msgspec.Struct):
    channel: str | msgspec.UnsetType = msgspec.UNSET
    payload: msgspec.Raw = msgspec.Raw()
    gone: msgspec.Raw = msgspec.Raw()
    skipped: msgspec.Raw = msgspec.Raw()
    id: int | None = None


class _HelloFrame(msgspec.Struct):
    protocol: int
    heartbeat: float
    cursor: str


class _ClosingFrame(msgspec.Struct):
    """A commit point, `subscribed` or `reset`; `sent` counts the events of the connection."""

    cursor: str
    n: int = 0
    sent: int | None = None
    subscribed: list[str] = []
    reset: list[str] = []
    reason: str = ""
    ref: int | None = None


class _ErrorFrame(msgspec.Struct):
    code: str
    message: str
    channel: str | None = None
    ref: int | None = None


class _ByeFrame(msgspec.Struct):
    reconnect_after_ms: float


_decode_event = msgspec.json.Decoder(_EventFrame).decode
_decode_control = msgspec.json.Decoder(dict[str, object]).decode
_T = TypeVar("_T")


@dataclass(slots=True, eq=False)
class _Reader:
    """One subscription to a channel. `at` is its cursor: all events up to there were received."""

    channel: str
    history: History
    at: str | None
    ref: int = _IDLE


@dataclass(slots=True)
class _Settling:
    xid: int
    asked: bool = False


@dataclass(slots=True)
class ReferenceClient:
    """The state of one client. Time is an argument; `requests` yields the frames to send."""

    name: str
    tag: Callable[[str], Tag]
    on_event: OnEvent | None = None
    resets: Counter[str] = field(default_factory=Counter[str])
    errors: Counter[str] = field(default_factory=Counter[str])
    """Refused requests, by code."""
    heartbeat_seconds: float | None = None
    """None until `hello` arrives."""
    reconnect_after_seconds: float = 0.0
    """The delay that `bye` asked for."""
    proven: bool = False
    """Whether this connection has closed a group."""
    changed: bool = False
    """Whether requests or replies are pending since the caller last cleared this flag."""
    _readers: dict[str, list[_Reader]] = field(default_factory=dict[str, list[_Reader]])
    _group: list[tuple[str, msgspec.Raw]] = field(default_factory=list[tuple[str, msgspec.Raw]])
    _received: int = 0
    _position: str | None = None
    _unsure: bool = False
    """Whether the cursor has advanced since the last frame with a matching `sent` count."""
    _refs: Iterator[int] = field(default_factory=lambda: count(1))
    _tickets: Iterator[int] = field(default_factory=count)
    _settling: dict[int, _Settling] = field(default_factory=dict[int, _Settling])

    def subscribe(self, channel: str, since: Cursor | None) -> History:
        """Subscribe, and return the history that will be recorded."""
        history = History(self.name, channel, [] if since is None else [Began(since)])
        reader = _Reader(channel, history, None if since is None else str(since))
        self._readers.setdefault(channel, []).append(reader)
        self.changed = True
        return history

    def unsubscribe(self, channel: str, now: float) -> ClientRequest | None:
        """End the histories of a channel; events that still arrive are dropped. Return the frame to send."""
        readers = self._readers.pop(channel, [])
        for reader in readers:
            self._end(reader, now)
        return {"unsubscribe": [channel]} if readers and self.open else None

    def settle(self, xid: int) -> int:
        """Request to settle a transaction; return a ticket for `is_settled`."""
        ticket = next(self._tickets)
        self._settling[ticket] = _Settling(xid)
        self.changed = True
        return ticket

    def is_settled(self, ticket: int) -> bool:
        """Return whether all events of the transaction have been received."""
        return ticket not in self._settling

    @property
    def open(self) -> bool:
        """Whether `hello` has arrived on this connection."""
        return self.heartbeat_seconds is not None

    @property
    def live(self) -> bool:
        """Whether all subscriptions are answered."""
        return self.open and all(f.ref in {_LIVE, _REFUSED} for f in self._all())

    def lost(self) -> None:
        """Take note that the connection ended."""
        self._group.clear()
        self._received = 0
        self._position = None
        self._unsure = False
        self.heartbeat_seconds = None
        self.reconnect_after_seconds = 0.0
        self.proven = False
        for reader in self._all():
            if reader.ref != _REFUSED:
                reader.ref = _IDLE
        for settling in self._settling.values():
            settling.asked = False

    def requests(self) -> Iterator[ClientRequest]:
        """Yield the frames to send now: a subscription for each cursor, then the settle requests."""
        if not self.open:
            return
        idle: dict[str | None, list[_Reader]] = {}
        for reader in self._all():
            if reader.ref == _IDLE:
                idle.setdefault(reader.at, []).append(reader)
        for since, readers in idle.items():
            yield self._subscription(since, readers)
        if self.live:
            yield from self._settlements()

    def received(self, message: bytes, now: float) -> None:
        """Process one message.

        Raises:
            FrameRejected: the message is malformed, or contradicts an earlier one.
        """
        try:
            event = _decode_event(message)
            if isinstance(event.channel, msgspec.UnsetType):
                self._control(_decode_control(message), now)
                return
        except (msgspec.MsgspecError, CursorMalformed) as error:
            raise FrameRejected(f"{error}: {message[:100]!r}") from error
        if not self.open or not any(map(bytes, (event.payload, event.gone, event.skipped))):
            raise FrameRejected(f"an event before hello, or without a payload: {message[:100]!r}")
        if event.id is None:
            self._deliver([(event.channel, event.payload)], _LIVE, now)
        else:
            self._group.append((event.channel, event.payload))
            self._received += 1

    def _control(self, frame: dict[str, object], now: float) -> None:
        name = next(iter(frame), "")
        if not self.open and name not in {"hello", "error", "bye"}:
            raise FrameRejected(f"{name!r} came before hello")
        match name:
            case "cursor" | "subscribed" | "reset":
                self._close_group(name, _read(frame, _ClosingFrame), now)
            case "hello":
                self.heartbeat_seconds = _read(frame["hello"], _HelloFrame).heartbeat
            case "settled":
                self._settled(_read(frame["settled"], int))
            case "error":
                self._refuse(_read(frame["error"], _ErrorFrame), now)
            case "bye":
                self.reconnect_after_seconds = _read(frame["bye"], _ByeFrame).reconnect_after_ms / 1000
            case _:  # a frame of a later protocol version
                pass
        self.changed = self.changed or name != "cursor"

    def _close_group(self, name: str, frame: _ClosingFrame, now: float) -> None:
        group, self._group = self._group, []
        expected = 0 if name == "reset" else frame.n
        if len(group) != expected or frame.sent not in {None, self._received}:
            self._reset_after_gap(frame.sent)
            came = f"{len(group)} events came, {self._received} on this connection"
            raise FrameRejected(f"{came}; the server counted {expected} and {frame.sent}")
        if name == "cursor" and group and frame.cursor == self._position:
            raise FrameRejected(f"a group ends at {frame.cursor}, like the previous one")
        self._unsure = frame.sent is None and (self._unsure or name == "cursor")
        self._position = frame.cursor
        self.proven = True
        if name == "cursor":
            self._deliver(group, _LIVE, now)
            for reader in self._all():
                if reader.ref == _LIVE:
                    reader.at = frame.cursor
        else:
            self._answer(name, frame, group, now)

    def _reset_after_gap(self, sent: int | None) -> None:
        """Reset live subscriptions: a replay of missing events could deliver older ones after newer ones."""
        if not self._unsure or sent is None or sent <= self._received:
            return
        for reader in self._all():
            if reader.ref == _LIVE and reader.at is not None:
                self.resets["lost"] += 1
                reader.history.marks += [WasReset("lost"), Began(Cursor.parse(reader.at))]

    def _answer(
        self, name: str, frame: _ClosingFrame, group: list[tuple[str, msgspec.Raw]], now: float
    ) -> None:
        """Process the end of a replay or a reset: the subscriptions of that request are live.

        Without a request these are of live subscriptions: what was held back while a guard was asked again.
        """
        ref = _LIVE if frame.ref is None else frame.ref
        channels = frame.subscribed if name == "subscribed" else frame.reset
        answered = [f for c in channels for f in self._readers.get(c, ()) if f.ref == ref]
        for reader in answered:
            if name == "reset":
                self.resets[frame.reason] += 1
                reader.history.marks.append(WasReset(frame.reason))
            if name == "reset" or reader.at is None:
                reader.history.marks.append(Began(Cursor.parse(frame.cursor)))
        self._deliver(group, ref, now)
        for reader in answered:
            reader.at = frame.cursor
            reader.ref = _LIVE

    def _deliver(self, events: Iterable[tuple[str, msgspec.Raw]], ref: int, now: float) -> None:
        for channel, raw in events:
            if not bytes(raw):  # gone or skipped: counted, and no event for a handler
                continue
            for reader in tuple(self._readers.get(channel, ())):
                if reader.ref == ref:  # a handler may end a subscription during this loop
                    payload = str(raw, "utf-8")
                    row, version = self.tag(payload)
                    reader.history.marks.append(Received(row, version, now))
                    if self.on_event is not None:
                        self.on_event(channel, payload, now)

    def _refuse(self, error: _ErrorFrame, now: float) -> None:
        self.errors[error.code] += 1
        unasked = _NONE if error.channel is None else _LIVE
        ref = unasked if error.ref is None else error.ref
        for reader in self._all():
            if reader.ref == ref and error.channel in {None, reader.channel}:
                self._end(reader, now)

    def _end(self, reader: _Reader, now: float) -> None:
        reader.ref = _REFUSED
        position = None if reader.at is None else Cursor.parse(reader.at)
        reader.history.marks.append(Ended(now, position))

    def _settled(self, xid: int) -> None:
        for ticket, settling in tuple(self._settling.items()):
            if settling.asked and settling.xid == xid:
                del self._settling[ticket]

    def _subscription(self, since: str | None, readers: list[_Reader]) -> ClientRequest:
        ref = next(self._refs)
        for reader in readers:
            reader.ref = ref
        names = list(dict.fromkeys(reader.channel for reader in readers))
        request: ClientRequest = {"subscribe": names, "ref": ref}
        return request if since is None else {**request, "since": since}

    def _settlements(self) -> Iterator[ClientRequest]:
        asked = {settling.xid for settling in self._settling.values() if settling.asked}
        for settling in self._settling.values():
            if settling.asked or len(asked) >= _SETTLES_AT_A_TIME:
                continue
            settling.asked = True
            if settling.xid not in asked:
                asked.add(settling.xid)
                yield {"settle": str(settling.xid)}

    def _all(self) -> Iterator[_Reader]:
        for readers in self._readers.values():
            yield from readers


def _read(value: object, kind: type[_T]) -> _T:
    return msgspec.convert(value, kind, strict=kind is not int)
