"""The follower: the client's side of `spec/protocol.md` without a network; its news are marks of histories.

Each following carries the cursor it stands at and, while the connection is open, the number of the answer it
waits for, or LIVE. A group is kept until the frame that closes it: a commit point gives it to all that are
live, `subscribed` only to those whose replay it was. A lost connection is therefore simple: drop the open
group, ask again from each cursor held.
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

Request: TypeAlias = dict[str, object]
OnEvent: TypeAlias = Callable[[str, str, float], None]
"""Called with each event a handler would get: its channel, its payload as it was sent, the time."""

_IDLE, _LIVE, _REFUSED, _NONE = 0, -1, -2, -3
_SETTLES_AT_A_TIME = 32
"""Fewer than a server allows, by default; the rest is asked when these are answered."""


class FrameRejected(Exception):
    """The server sent a malformed frame, or not as many events as it counts: close (4002), resume."""


class _Event(msgspec.Struct):
    channel: str | msgspec.UnsetType = msgspec.UNSET
    payload: msgspec.Raw = msgspec.Raw()
    id: int | None = None


class _Hello(msgspec.Struct):
    protocol: int
    heartbeat: float
    cursor: str


class _Closing(msgspec.Struct):
    """A commit point, `subscribed` or `reset`; `sent` counts the events of the whole connection."""

    cursor: str
    n: int = 0
    sent: int | None = None
    subscribed: list[str] = []
    reset: list[str] = []
    reason: str = ""
    ref: int | None = None


class _Error(msgspec.Struct):
    code: str
    message: str
    channel: str | None = None
    ref: int | None = None


class _Bye(msgspec.Struct):
    reconnect_after_ms: float


_decode_event = msgspec.json.Decoder(_Event).decode
_decode_control = msgspec.json.Decoder(dict[str, object]).decode
_T = TypeVar("_T")


@dataclass(slots=True, eq=False)
class _Following:
    """One reader of a channel. `at` is where it stands: all up to there was received."""

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
    """What one client knows. Time is an argument, and what is to be sent is asked for with `requests`."""

    name: str
    tag: Callable[[str], Tag]
    on_event: OnEvent | None = None
    resets: Counter[str] = field(default_factory=Counter[str])
    errors: Counter[str] = field(default_factory=Counter[str])
    """What the server refused, by code."""
    heartbeat_seconds: float | None = None
    """None until the server's hello has come."""
    reconnect_after_seconds: float = 0.0
    """What the server's `bye` asked for."""
    proven: bool = False
    """This connection has closed a group."""
    changed: bool = False
    """There is something to send, or an answer that may be waited for. The reader sets it back."""
    _followings: dict[str, list[_Following]] = field(default_factory=dict[str, list[_Following]])
    _group: list[tuple[str, msgspec.Raw]] = field(default_factory=list[tuple[str, msgspec.Raw]])
    _received: int = 0
    _position: str | None = None
    _unsure: bool = False
    """The position has moved on since a count of all that was sent last confirmed ours."""
    _refs: Iterator[int] = field(default_factory=lambda: count(1))
    _tickets: Iterator[int] = field(default_factory=count)
    _settling: dict[int, _Settling] = field(default_factory=dict[int, _Settling])

    def follow(self, channel: str, since: Cursor | None) -> History:
        """Begin a history."""
        history = History(self.name, channel, [] if since is None else [Began(since)])
        following = _Following(channel, history, None if since is None else str(since))
        self._followings.setdefault(channel, []).append(following)
        self.changed = True
        return history

    def unfollow(self, channel: str, now: float) -> Request | None:
        """End the histories of a channel; what still comes is dropped. Return what to send."""
        followings = self._followings.pop(channel, [])
        for following in followings:
            self._end(following, now)
        return {"unsubscribe": [channel]} if followings and self.open else None

    def settle(self, xid: int) -> int:
        """Ask about a transaction; return a ticket for `is_settled`."""
        ticket = next(self._tickets)
        self._settling[ticket] = _Settling(xid)
        self.changed = True
        return ticket

    def is_settled(self, ticket: int) -> bool:
        """Whether all that the transaction wrote was received."""
        return ticket not in self._settling

    @property
    def open(self) -> bool:
        """Whether the server has sent hello."""
        return self.heartbeat_seconds is not None

    @property
    def live(self) -> bool:
        """Whether everything that is followed was answered."""
        return self.open and all(f.ref in {_LIVE, _REFUSED} for f in self._all())

    def lost(self) -> None:
        """The connection is gone."""
        self._group.clear()
        self._received = 0
        self._position = None
        self._unsure = False
        self.heartbeat_seconds = None
        self.reconnect_after_seconds = 0.0
        self.proven = False
        for following in self._all():
            if following.ref != _REFUSED:
                following.ref = _IDLE
        for settling in self._settling.values():
            settling.asked = False

    def requests(self) -> Iterator[Request]:
        """Yield what is to be sent now: a subscription for each cursor held, then the settling."""
        if not self.open:
            return
        idle: dict[str | None, list[_Following]] = {}
        for following in self._all():
            if following.ref == _IDLE:
                idle.setdefault(following.at, []).append(following)
        for since, followings in idle.items():
            yield self._subscription(since, followings)
        if self.live:
            yield from self._settlements()

    def received(self, message: bytes, now: float) -> None:
        """Take one message.

        Raises:
            FrameRejected: it is malformed, or does not fit the ones before it.
        """
        try:
            event = _decode_event(message)
            if isinstance(event.channel, msgspec.UnsetType):
                self._control(_decode_control(message), now)
                return
        except (msgspec.MsgspecError, CursorMalformed) as error:
            raise FrameRejected(f"{error}: {message[:100]!r}") from error
        if not self.open or not bytes(event.payload):
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
                self._close_group(name, _read(frame, _Closing), now)
            case "hello":
                self.heartbeat_seconds = _read(frame["hello"], _Hello).heartbeat
            case "settled":
                self._settled(_read(frame["settled"], int))
            case "error":
                self._refuse(_read(frame["error"], _Error), now)
            case "bye":
                self.reconnect_after_seconds = _read(frame["bye"], _Bye).reconnect_after_ms / 1000
            case _:  # of a later version
                pass
        self.changed = self.changed or name != "cursor"

    def _close_group(self, name: str, frame: _Closing, now: float) -> None:
        group, self._group = self._group, []
        expected = 0 if name == "reset" else frame.n
        if len(group) != expected or frame.sent not in {None, self._received}:
            self._report_holes(frame.sent)
            came = f"{len(group)} events came, {self._received} on this connection"
            raise FrameRejected(f"{came}; the server counts {expected} and {frame.sent}")
        if name == "cursor" and group and frame.cursor == self._position:
            raise FrameRejected(f"a group that ends at {frame.cursor}, as the last one did")
        self._unsure = frame.sent is None and (self._unsure or name == "cursor")
        self._position = frame.cursor
        self.proven = True
        if name == "cursor":
            self._deliver(group, _LIVE, now)
            for following in self._all():
                if following.ref == _LIVE:
                    following.at = frame.cursor
        else:
            self._answer(name, frame, group, now)

    def _report_holes(self, sent: int | None) -> None:
        """What is missing may lie before what was received since: to receive it now would be out of order."""
        if not self._unsure or sent is None or sent <= self._received:
            return
        for following in self._all():
            if following.ref == _LIVE and following.at is not None:
                self.resets["lost"] += 1
                following.history.marks += [WasReset("lost"), Began(Cursor.parse(following.at))]

    def _answer(self, name: str, frame: _Closing, group: list[tuple[str, msgspec.Raw]], now: float) -> None:
        """A replay ends, or a position could not be bridged: those who asked are live."""
        unasked = _LIVE if name == "reset" else _NONE
        ref = unasked if frame.ref is None else frame.ref
        channels = frame.subscribed if name == "subscribed" else frame.reset
        answered = [f for c in channels for f in self._followings.get(c, ()) if f.ref == ref]
        for following in answered:
            if name == "reset":
                self.resets[frame.reason] += 1
                following.history.marks.append(WasReset(frame.reason))
            if name == "reset" or following.at is None:
                following.history.marks.append(Began(Cursor.parse(frame.cursor)))
        self._deliver(group, ref, now)
        for following in answered:
            following.at = frame.cursor
            following.ref = _LIVE

    def _deliver(self, events: Iterable[tuple[str, msgspec.Raw]], ref: int, now: float) -> None:
        for channel, raw in events:
            for following in tuple(self._followings.get(channel, ())):
                if following.ref == ref:  # also while a handler ends one
                    payload = str(raw, "utf-8")
                    row, version = self.tag(payload)
                    following.history.marks.append(Received(row, version, now))
                    if self.on_event is not None:
                        self.on_event(channel, payload, now)

    def _refuse(self, error: _Error, now: float) -> None:
        self.errors[error.code] += 1
        unasked = _NONE if error.channel is None else _LIVE
        ref = unasked if error.ref is None else error.ref
        for following in self._all():
            if following.ref == ref and error.channel in {None, following.channel}:
                self._end(following, now)

    def _end(self, following: _Following, now: float) -> None:
        following.ref = _REFUSED
        position = None if following.at is None else Cursor.parse(following.at)
        following.history.marks.append(Ended(now, position))

    def _settled(self, xid: int) -> None:
        for ticket, settling in tuple(self._settling.items()):
            if settling.asked and settling.xid == xid:
                del self._settling[ticket]

    def _subscription(self, since: str | None, followings: list[_Following]) -> Request:
        ref = next(self._refs)
        for following in followings:
            following.ref = ref
        names = list(dict.fromkeys(following.channel for following in followings))
        request: Request = {"subscribe": names, "ref": ref}
        return request if since is None else {**request, "since": since}

    def _settlements(self) -> Iterator[Request]:
        asked = {settling.xid for settling in self._settling.values() if settling.asked}
        for settling in self._settling.values():
            if settling.asked or len(asked) >= _SETTLES_AT_A_TIME:
                continue
            settling.asked = True
            if settling.xid not in asked:
                asked.add(settling.xid)
                yield {"settle": str(settling.xid)}

    def _all(self) -> Iterator[_Following]:
        for followings in self._followings.values():
            yield from followings


def _read(value: object, kind: type[_T]) -> _T:
    return msgspec.convert(value, kind, strict=kind is not int)
