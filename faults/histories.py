"""Histories: compare the events that subscribers received with the final log.

A test's event is identified by its payload: a `row`, and a `version` that each change of the row increments.
A history is judged in segments. A segment begins at a cursor, after which all events of its channel are owed,
and lasts until a reset, the end of the subscription, or the end of the run. If the subscription ended before
the run did, its last cursor is unknown: the segment then owes a prefix of each row's changes, without gaps.
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
    """Return the row and version in a payload; other fields are ignored."""
    tagged = _decode(payload)
    return tagged.row, tagged.version


@dataclass(frozen=True, slots=True)
class Began:
    """All events after this cursor are owed. Without a reset before it, earlier events stay owed too."""

    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Received:
    """The handler was called with an event; `at` is monotonic time."""

    row: Row
    version: int
    at: float


@dataclass(frozen=True, slots=True)
class WasReset:
    """The subscriber was reset; nothing is owed until the next `Began`."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The client unsubscribed. With a `cursor`, all events up to it had been received by then."""

    at: float
    cursor: Cursor | None = None


Mark: TypeAlias = Began | Received | WasReset | Ended


@dataclass(slots=True)
class History:
    """The marks of one subscriber on one channel, in order."""

    subscriber: str
    channel: str
    marks: list[Mark] = field(default_factory=list[Mark])


@dataclass(frozen=True, slots=True)
class Verdict:
    """The counts of a comparison; `ok` if all guarantees held. `examples` describe the first faults."""

    events: int = 0
    """Events in the log."""
    deliveries: int = 0
    """Calls of a handler."""
    lost: int = 0
    """Owed and never received."""
    gaps: int = 0
    """Lost events after which a later one of the same row was received: silent gaps."""
    doubled: int = 0
    """Received twice, or although the subscriber's cursor covered it."""
    reordered: int = 0
    """Received after a later change of the same row."""
    phantoms: int = 0
    """Received, but not in the log."""
    strayed: int = 0
    """Received on another channel than the one in the log."""
    late: int = 0
    """Received after the end of the subscription, or without a cursor to begin at."""
    stale: int = 0
    """Rows whose last change was not the last one received, in subscriptions that never ended."""
    resets: int = 0
    """Explicit resets, which are allowed."""
    undone: int = 0
    """Received, then lost by the database, as a reset reported; allowed."""
    examples: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all guarantees held."""
        faults = (self.lost, self.doubled, self.reordered, self.phantoms, self.strayed, self.late, self.stale)
        return not any(faults)

    def figures(self) -> dict[str, int]:
        """Return all counts, by name."""
        return {name: getattr(self, name) for name in _COUNTS}


_COUNTS = tuple(f.name for f in fields(Verdict) if f.name != "examples")
_EXAMPLES = 5
_UNDOING = ("rewound", "other_database")
"""Reasons of resets after which events received before need not exist."""
_GAP_REPORTED = "lost"
"""The reset of a client that detects a missing event by the count in a heartbeat."""


def judge(
    log: Sequence[Record], histories: Iterable[History], *, tag: Callable[[str], Tag] = tag_of
) -> Verdict:
    """Compare the received events with the log after all faults have ended.

    `tag` returns row and version of a payload; together with the channel they identify an event.
    """
    index = _LogIndex(log, tag)
    for history in histories:
        reader = _HistoryReader(history, index)
        for mark in history.marks:
            reader.take(mark)
        reader.finish()
    counts = {name: index.counts[name] for name in _COUNTS}
    return Verdict(**counts, examples=tuple(index.examples))


@dataclass(slots=True, frozen=True, eq=False)
class _Change:
    """A record, and its position among the changes of its row."""

    row: Row
    version: int
    xid: int
    position: int


class _ChannelLog:
    """The log of one channel, by tag, by row and by transaction."""

    def __init__(self) -> None:
        self.by_tag: dict[Tag, _Change] = {}
        self.rows: dict[Row, list[_Change]] = {}
        self.by_xid: list[_Change] = []
        self.xids: list[int] = []

    def add(self, tag: Tag, xid: int) -> None:
        row, version = tag
        changes = self.rows.setdefault(row, [])
        event = _Change(row, version, xid, len(changes))
        self.by_tag[tag] = event
        changes.append(event)
        self.by_xid.append(event)

    def sort(self) -> None:
        self.by_xid.sort(key=lambda event: event.xid)
        self.xids = [event.xid for event in self.by_xid]

    def between(self, begin: Cursor, until: Cursor | None) -> list[_Change]:
        """Return the events after one cursor, up to another or to the end."""
        first = bisect_left(self.xids, begin.snapshot.xmin)
        last = None if until is None else bisect_left(self.xids, until.snapshot.xmax)
        return [
            event
            for event in self.by_xid[first:last]
            if not begin.covers(event.xid) and (until is None or until.covers(event.xid))
        ]


class _LogIndex:
    """The log by channel, and the counts of the verdict."""

    def __init__(self, log: Sequence[Record], tag: Callable[[str], Tag]) -> None:
        self.counts: Counter[str] = Counter(events=len(log))
        self.examples: list[str] = []
        self._channels: dict[str, _ChannelLog] = {}
        for record in sorted(log, key=lambda record: record.id):
            identity = tag(record.payload)
            channel = self.channel(record.channel)
            if identity in channel.by_tag:
                self.note("doubled", "the log", record.channel, identity, "is in the log twice")
            else:
                channel.add(identity, record.xid)
        for channel in self._channels.values():
            channel.sort()

    def channel(self, name: str) -> _ChannelLog:
        return self._channels.setdefault(name, _ChannelLog())

    def anywhere(self, tag: Tag) -> bool:
        return any(tag in channel.by_tag for channel in self._channels.values())

    def note(self, count: str, subscriber: str, channel: str, tag: Tag, what: str) -> None:
        self.counts[count] += 1
        if len(self.examples) < _EXAMPLES:
            row, version = tag
            self.examples.append(f"{subscriber} on {channel}: version {version} of row {row!r} {what}")


class _HistoryReader:
    """Reads one history, mark by mark."""

    def __init__(self, history: History, index: _LogIndex) -> None:
        self._history = history
        self._index = index
        self._channel = index.channel(history.channel)
        self._segment: _Segment | None = None

    def take(self, mark: Mark) -> None:
        match mark:
            case Received(row, version):
                self._receive((row, version))
            case Began(cursor):
                self._end_segment(cursor)
                self._segment = _Segment(self._history, self._index, cursor)
            case WasReset(reason):
                self._index.counts["resets"] += 1
                self._end_segment(undoing=reason in _UNDOING, gap_reported=reason == _GAP_REPORTED)
            case Ended(_, cursor):
                self._end_segment(cursor)

    def finish(self) -> None:
        """Judge a subscription that never ended: it must have received everything."""
        if self._segment is not None:
            self._segment.judge(self._channel, until=None)

    def _receive(self, tag: Tag) -> None:
        self._index.counts["deliveries"] += 1
        if self._segment is None:
            what = "was received after the end, or without a cursor to begin at"
            self._index.note("late", self._history.subscriber, self._history.channel, tag, what)
        else:
            self._segment.received.append(tag)

    def _end_segment(
        self, until: Cursor | None = None, *, undoing: bool = False, gap_reported: bool = False
    ) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.undoing = undoing
            segment.gap_reported = gap_reported
            segment.judge(self._channel, until=until or segment.begin)


class _Segment:
    """The part of a history after one cursor."""

    def __init__(self, history: History, index: _LogIndex, begin: Cursor) -> None:
        self.begin = begin
        self.received: list[Tag] = []
        self.undoing = False
        self.gap_reported = False
        self._history = history
        self._index = index
        self._seen: dict[Row, set[int]] = {}
        self._newest: dict[Row, int] = {}
        self._last: dict[Row, int] = {}

    def judge(self, channel: _ChannelLog, *, until: Cursor | None) -> None:
        """Count the faults: all events up to `until`, or the end of the log, are owed; later ones gapless."""
        for tag in self.received:
            self._receive(tag, channel)
        owed = channel.between(self.begin, until)
        for event in owed:
            if event.position not in self._seen.get(event.row, ()):
                self._lose(event)
        if until is None:
            self._find_stale(owed)
        elif not self.undoing and not self.gap_reported:
            self._find_gaps(channel, set(owed))

    def _receive(self, tag: Tag, channel: _ChannelLog) -> None:
        event = channel.by_tag.get(tag)
        if event is None:
            self._receive_unknown(tag)
            return
        row, position = event.row, event.position
        self._last[row] = position
        seen = self._seen.setdefault(row, set())
        if position in seen:
            self._note("doubled", event, "was received again")
        elif self.begin.covers(event.xid) and not self.undoing:
            self._note("doubled", event, f"was received after {self.begin}, which covers it")
        elif position < self._newest.get(row, -1):
            self._note("reordered", event, "was received after a later one")
        else:
            self._newest[row] = position
        seen.add(position)

    def _receive_unknown(self, tag: Tag) -> None:
        names = (self._history.subscriber, self._history.channel)
        if self._index.anywhere(tag):
            self._index.note("strayed", *names, tag, "was received, but belongs to another channel")
        elif self.undoing:
            self._index.counts["undone"] += 1
        else:
            self._index.note("phantoms", *names, tag, "was received, but is not in the log")

    def _lose(self, event: _Change) -> None:
        if event.position < self._newest.get(event.row, -1):
            self._index.counts["gaps"] += 1
            self._note("lost", event, "was never received, but a later one was")
        else:
            self._note("lost", event, "was never received")

    def _find_stale(self, owed: Iterable[_Change]) -> None:
        last: dict[Row, _Change] = {}
        for event in owed:
            if event.row not in last or last[event.row].position < event.position:
                last[event.row] = event
        for row, event in last.items():
            if self._last.get(row) != event.position:
                self._note("stale", event, "is the row's last, but was not received last")

    def _find_gaps(self, channel: _ChannelLog, owed: set[_Change]) -> None:
        """Count as lost what is missing before a received change of the same row."""
        for row, newest in self._newest.items():
            for event in reversed(channel.rows[row][:newest]):
                if self.begin.covers(event.xid):
                    break  # earlier changes are covered too: the changes of a row commit one after the other
                if event.position not in self._seen[row] and event not in owed:
                    self._lose(event)

    def _note(self, count: str, event: _Change, what: str) -> None:
        tag = (event.row, event.version)
        self._index.note(count, self._history.subscriber, self._history.channel, tag, what)
