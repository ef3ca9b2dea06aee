"""Histories: what handlers were told, judged by what the database holds in the end.

Test events say which change of which row they are: `{"row": …, "version": …}`, and a version is never used
twice for a row on a channel. So a handler that sees nothing but payloads can be judged all the same.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TypeAlias

from flowcraft.cursors import Cursor
from flowcraft.records import Record

Row: TypeAlias = int | str
Tag: TypeAlias = tuple[Row, int]
"""A row and its version: together with the channel they name one event."""
MOST_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Began:
    """The position is fixed: everything after this cursor must be heard."""

    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Heard:
    """A handler was called, at this monotonic time."""

    row: Row
    version: int
    at: float


@dataclass(frozen=True, slots=True)
class WasReset:
    """An explicit gap; nothing is owed until the next `Began`."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """`unsubscribe` returned, at this monotonic time; no handler may be called any more."""

    at: float


Mark: TypeAlias = Began | Heard | WasReset | Ended


@dataclass(slots=True)
class History:
    """What one handler went through on one channel, in order."""

    subscriber: str
    channel: str
    marks: list[Mark] = field(default_factory=list[Mark])


@dataclass(frozen=True, slots=True)
class Verdict:
    """Counts of what came and of what went wrong."""

    events: int = 0
    """Events in the log."""
    deliveries: int = 0
    lost: int = 0
    """Owed and never heard."""
    gaps: int = 0
    """Lost, although something later of the same row was heard: the silent ones among the lost."""
    doubled: int = 0
    """Heard again, or although the state that the subscription began with held it already."""
    reordered: int = 0
    """Heard after something later of the same row."""
    phantoms: int = 0
    """Heard, but in no log."""
    strayed: int = 0
    """Heard on a channel that it does not belong to."""
    late: int = 0
    """Heard after the end of the subscription."""
    stale: int = 0
    """Rows whose last event heard is not their last."""
    resets: int = 0
    examples: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing went wrong; a `reset` is explicit, and so nothing wrong."""
        wrong = (self.lost, self.doubled, self.reordered, self.phantoms, self.strayed, self.late, self.stale)
        return not any(wrong)

    def figures(self) -> dict[str, int]:
        """The counts by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "examples"}


def tag_of(payload: str) -> Tag:
    """Read the tag out of a payload."""
    event = json.loads(payload)
    return event["row"], event["version"]


def judge(
    log: Sequence[Record], histories: Iterable[History], *, tag: Callable[[str], Tag] = tag_of
) -> Verdict:
    """Compare what was heard with the log: each event once, in the order of its row, until the end."""
    judgement = _Judgement(log, tag)
    for history in histories:
        judgement.hear(history)
    return Verdict(len(log), examples=tuple(judgement.examples), **judgement.counts)


@dataclass(frozen=True, slots=True)
class _Logged:
    tag: Tag
    xid: int
    place: int


class _Judgement:
    def __init__(self, log: Sequence[Record], tag: Callable[[str], Tag]) -> None:
        self.counts: dict[str, int] = defaultdict(int)
        self.examples: list[str] = []
        self._channels: dict[str, dict[Tag, _Logged]] = defaultdict(dict)
        self._elsewhere: set[Tag] = set()
        for place, record in enumerate(sorted(log, key=lambda record: record.id)):
            logged = _Logged(tag(record.payload), record.xid, place)
            assert logged.tag not in self._channels[record.channel], (
                f"{record.channel} has {logged.tag} twice"
            )
            self._channels[record.channel][logged.tag] = logged
            self._elsewhere.add(logged.tag)

    def hear(self, history: History) -> None:
        logged = self._channels.get(history.channel, {})
        segment = _Segment(self, history, logged)
        for mark in history.marks:
            match mark:
                case Began(cursor):
                    segment.close(excused=False)
                    segment = _Segment(self, history, logged, cursor)
                case Heard(row, version):
                    self.counts["deliveries"] += 1
                    segment.heard((row, version))
                case WasReset(reason):
                    self.counts["resets"] += 1
                    segment.close(excused=True, gaps_told=reason == "lost")
                    segment = _Segment(self, history, logged)
                case Ended():
                    segment.end()
        segment.close(excused=segment.ended)

    def find(self, kind: str, history: History, tag: Tag) -> None:
        self.counts[kind] += 1
        if len(self.examples) < MOST_EXAMPLES:
            self.examples.append(
                f"{kind}: {history.subscriber} on {history.channel}, row {tag[0]!r} version {tag[1]}"
            )

    def is_elsewhere(self, tag: Tag) -> bool:
        return tag in self._elsewhere


class _Segment:
    """What was heard from a fixed position to a reset, the end of the subscription, or that of the run."""

    def __init__(
        self,
        judgement: _Judgement,
        history: History,
        logged: Mapping[Tag, _Logged],
        begin: Cursor | None = None,
    ) -> None:
        self.ended = False
        self._judgement = judgement
        self._history = history
        self._logged = logged
        self._begin = begin
        self._seen: set[Tag] = set()
        self._last: dict[Row, int] = {}

    def heard(self, tag: Tag) -> None:
        event = self._logged.get(tag)
        if self.ended:
            self._find("late", tag)
        elif event is None:
            self._find("strayed" if self._judgement.is_elsewhere(tag) else "phantoms", tag)
        elif tag in self._seen or (self._begin is not None and self._begin.covers(event.xid)):
            self._find("doubled", tag)
        else:
            self._take(event)

    def end(self) -> None:
        self.ended = True

    def close(self, *, excused: bool, gaps_told: bool = False) -> None:
        """Count what is owed. A reset excuses what had not come yet, an end what would have come.

        A reset for something lost tells of gaps before it, too.
        """
        if self._begin is None:
            return
        newest: dict[Row, int] = {}
        for event in self._logged.values():
            if self._begin.covers(event.xid):
                continue
            row = event.tag[0]
            newest[row] = event.place
            if event.tag not in self._seen:
                overtaken = self._last.get(row, -1) > event.place
                if (overtaken and not gaps_told) or not excused:
                    self._find("lost", event.tag)
                if overtaken and not gaps_told:
                    self._judgement.counts["gaps"] += 1
        if not excused:
            stale = [row for row, place in newest.items() if self._last.get(row, place) != place]
            for row in stale:
                self._find("stale", (row, -1))

    def _take(self, event: _Logged) -> None:
        row = event.tag[0]
        self._seen.add(event.tag)
        if self._last.get(row, -1) > event.place:
            self._find("reordered", event.tag)
        self._last[row] = event.place

    def _find(self, kind: str, tag: Tag) -> None:
        self._judgement.find(kind, self._history, tag)
