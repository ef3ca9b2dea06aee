"""Histories: what subscribers received, judged by what the log holds in the end.

A test's event is known by its payload: a `row`, and a `version` that each change of the row counts up by one.
A history is judged in segments. Each begins at a cursor, from which on everything of its channel is owed, and
lasts to an explicit reset, to the end of the subscription, or to the end of the run. Where it was left before
the end of the run, how far it had come is not known: of each row it then owes a beginning, without holes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import TypeAlias

import msgspec

from flowcraft.cursors import Cursor
from flowcraft.records import Record

Row: TypeAlias = int | str
Tag: TypeAlias = tuple[Row, int]


class _Tagged(msgspec.Struct):
    row: Row
    version: int


_decode = msgspec.json.Decoder(_Tagged).decode


def tag_of(payload: str) -> Tag:
    """Return the row and version in a payload; all else in it is free."""
    tagged = _decode(payload)
    return tagged.row, tagged.version


@dataclass(frozen=True, slots=True)
class Began:
    """From this position on everything must be received. One without a reset before it excuses nothing."""

    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Received:
    """The handler was called; `at` is monotonic."""

    row: Row
    version: int
    at: float


@dataclass(frozen=True, slots=True)
class WasReset:
    """The subscriber received an explicit gap; nothing is owed until the next `Began`."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """Unsubscribing returned. With a `cursor`, everything up to it had been received by then."""

    at: float
    cursor: Cursor | None = None


Mark: TypeAlias = Began | Received | WasReset | Ended


@dataclass(slots=True)
class History:
    """What one subscriber went through on one channel, in order."""

    subscriber: str
    channel: str
    marks: list[Mark] = field(default_factory=list[Mark])


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found; `ok` if it is what was promised. `examples` are sentences about the first faults."""

    events: int = 0
    """In the log."""
    deliveries: int = 0
    """Calls of a handler."""
    lost: int = 0
    """Owed and never received."""
    gaps: int = 0
    """Those of the lost after which something later of the same row was received: silent gaps."""
    doubled: int = 0
    """Received again, or although the subscriber's position covered it."""
    reordered: int = 0
    """Received after something later of the same row."""
    phantoms: int = 0
    """Received, and not in the log at all."""
    strayed: int = 0
    """Received on a channel whose log does not have it, but another's does."""
    late: int = 0
    """Received after the end of the subscription, or where no position was fixed."""
    stale: int = 0
    """Rows whose last change is not what was received last, where the subscription never ended."""
    resets: int = 0
    """Explicit gaps, which are allowed."""
    undone: int = 0
    """Received, and then lost by the database, which a reset reported; allowed."""
    examples: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        faults = (self.lost, self.doubled, self.reordered, self.phantoms, self.strayed, self.late, self.stale)
        return not any(faults)

    def figures(self) -> dict[str, int]:
        """Return all counts, by name."""
        return {name: getattr(self, name) for name in _COUNTS}


_COUNTS = tuple(f.name for f in fields(Verdict) if f.name != "examples")
_EXAMPLES = 5
_UNDOING = ("rewound", "other_database")
"""Resets after which what was received before need not exist."""
_HOLES_REPORTED = "lost"
"""The reset of a client that finds, by the count of a heartbeat, that something before was missing."""


def judge(
    log: Sequence[Record], histories: Iterable[History], *, tag: Callable[[str], Tag] = tag_of
) -> Verdict:
    """Compare what was received with what the log holds after all faults are healed.

    `tag` returns row and version of a payload; together with the channel they are the identity of an event.
    """
    books = _Books(log, tag)
    for history in histories:
        judging = _HistoryJudge(history, books)
        for mark in history.marks:
            judging.take(mark)
        judging.finish()
    counts = {name: books.counts[name] for name in _COUNTS}
    return Verdict(**counts, examples=tuple(books.examples))


@dataclass(slots=True, frozen=True, eq=False)
class _Event:
    """A record, and its place among the changes of its row."""

    row: Row
    version: int
    xid: int
    index: int


class _Channel:
    """The log of one channel, in the orders in which it is asked."""

    def __init__(self) -> None:
        self.by_tag: dict[Tag, _Event] = {}
        self.rows: dict[Row, list[_Event]] = {}
        self.by_xid: list[_Event] = []
        self.xids: list[int] = []

    def add(self, tag: Tag, xid: int) -> None:
        row, version = tag
        changes = self.rows.setdefault(row, [])
        event = _Event(row, version, xid, len(changes))
        self.by_tag[tag] = event
        changes.append(event)
        self.by_xid.append(event)

    def sort(self) -> None:
        self.by_xid.sort(key=lambda event: event.xid)
        self.xids = [event.xid for event in self.by_xid]

    def between(self, begin: Cursor, until: Cursor | None) -> list[_Event]:
        """Everything after one position, up to another or to the end."""
        first = bisect_left(self.xids, begin.snapshot.xmin)
        last = None if until is None else bisect_left(self.xids, until.snapshot.xmax)
        return [
            event
            for event in self.by_xid[first:last]
            if not begin.covers(event.xid) and (until is None or until.covers(event.xid))
        ]


class _Books:
    """The log by channel, and the counts."""

    def __init__(self, log: Sequence[Record], tag: Callable[[str], Tag]) -> None:
        self.counts: Counter[str] = Counter(events=len(log))
        self.examples: list[str] = []
        self._channels: dict[str, _Channel] = {}
        for record in sorted(log, key=lambda record: record.id):
            identity = tag(record.payload)
            channel = self.channel(record.channel)
            if identity in channel.by_tag:
                self.note("doubled", "the log", record.channel, identity, "is in the log twice")
            else:
                channel.add(identity, record.xid)
        for channel in self._channels.values():
            channel.sort()

    def channel(self, name: str) -> _Channel:
        return self._channels.setdefault(name, _Channel())

    def anywhere(self, tag: Tag) -> bool:
        return any(tag in channel.by_tag for channel in self._channels.values())

    def note(self, count: str, subscriber: str, channel: str, tag: Tag, what: str) -> None:
        self.counts[count] += 1
        if len(self.examples) < _EXAMPLES:
            row, version = tag
            self.examples.append(f"{subscriber} on {channel}: version {version} of row {row!r} {what}")


class _HistoryJudge:
    """One history, taken mark by mark."""

    def __init__(self, history: History, books: _Books) -> None:
        self._history = history
        self._books = books
        self._channel = books.channel(history.channel)
        self._segment: _Segment | None = None

    def take(self, mark: Mark) -> None:
        match mark:
            case Received(row, version):
                self._receive((row, version))
            case Began(cursor):
                self._leave(cursor)
                self._segment = _Segment(self._history, self._books, cursor)
            case WasReset(reason):
                self._books.counts["resets"] += 1
                self._leave(undoing=reason in _UNDOING, holes_reported=reason == _HOLES_REPORTED)
            case Ended(_, cursor):
                self._leave(cursor)

    def finish(self) -> None:
        """The run is over: what is subscribed still must have received everything."""
        if self._segment is not None:
            self._segment.judge(self._channel, until=None)

    def _receive(self, tag: Tag) -> None:
        self._books.counts["deliveries"] += 1
        if self._segment is None:
            what = "was received after the end, or where no position was fixed"
            self._books.note("late", self._history.subscriber, self._history.channel, tag, what)
        else:
            self._segment.received.append(tag)

    def _leave(
        self, until: Cursor | None = None, *, undoing: bool = False, holes_reported: bool = False
    ) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.undoing = undoing
            segment.holes_reported = holes_reported
            segment.judge(self._channel, until=until or segment.begin)


class _Segment:
    """The part of a history that follows one position."""

    def __init__(self, history: History, books: _Books, begin: Cursor) -> None:
        self.begin = begin
        self.received: list[Tag] = []
        self.undoing = False
        self.holes_reported = False
        self._history = history
        self._books = books
        self._seen: dict[Row, set[int]] = {}
        self._newest: dict[Row, int] = {}
        self._last: dict[Row, int] = {}

    def judge(self, channel: _Channel, *, until: Cursor | None) -> None:
        """Count its faults. All up to `until` is owed, or to the end of the log; after it, no hole."""
        for tag in self.received:
            self._receive(tag, channel)
        owed = channel.between(self.begin, until)
        for event in owed:
            if event.index not in self._seen.get(event.row, ()):
                self._lose(event)
        if until is None:
            self._find_stale(owed)
        elif not self.undoing and not self.holes_reported:
            self._find_holes(channel, set(owed))

    def _receive(self, tag: Tag, channel: _Channel) -> None:
        event = channel.by_tag.get(tag)
        if event is None:
            self._receive_unknown(tag)
            return
        row, index = event.row, event.index
        self._last[row] = index
        seen = self._seen.setdefault(row, set())
        if index in seen:
            self._note("doubled", event, "was received again")
        elif self.begin.covers(event.xid) and not self.undoing:
            self._note("doubled", event, f"was received after {self.begin}, which covers it")
        elif index < self._newest.get(row, -1):
            self._note("reordered", event, "was received after a later one")
        else:
            self._newest[row] = index
        seen.add(index)

    def _receive_unknown(self, tag: Tag) -> None:
        names = (self._history.subscriber, self._history.channel)
        if self._books.anywhere(tag):
            self._books.note("strayed", *names, tag, "was received, and belongs to another channel")
        elif self.undoing:
            self._books.counts["undone"] += 1
        else:
            self._books.note("phantoms", *names, tag, "was received, and is not in the log")

    def _lose(self, event: _Event) -> None:
        if event.index < self._newest.get(event.row, -1):
            self._books.counts["gaps"] += 1
            self._note("lost", event, "was never received, and a later one was")
        else:
            self._note("lost", event, "was never received")

    def _find_stale(self, owed: Iterable[_Event]) -> None:
        last: dict[Row, _Event] = {}
        for event in owed:
            if event.row not in last or last[event.row].index < event.index:
                last[event.row] = event
        for row, event in last.items():
            if self._last.get(row) != event.index:
                self._note("stale", event, "is the row's last, and was not what was received last")

    def _find_holes(self, channel: _Channel, owed: set[_Event]) -> None:
        """Lose what is missing before something later of the same row."""
        for row, newest in self._newest.items():
            for event in reversed(channel.rows[row][:newest]):
                if self.begin.covers(event.xid):
                    break  # and so is all before it: the changes of a row commit one after the other
                if event.index not in self._seen[row] and event not in owed:
                    self._lose(event)

    def _note(self, count: str, event: _Event, what: str) -> None:
        tag = (event.row, event.version)
        self._books.note(count, self._history.subscriber, self._history.channel, tag, what)
