"""The judge of histories: a faithful one passes, and each kind of damage turns its own counters alone."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from faults.histories import Began, Ended, History, Mark, Received, Verdict, WasReset, judge
from flowcraft.cursors import Cursor, Lineage, Snapshot
from flowcraft.records import Record

CHANNELS = ("run_update", "step_update")
FAULTS = ("lost", "gaps", "doubled", "reordered", "phantoms", "strayed", "late", "stale")


@dataclass
class Story:
    """Transactions in the order of their commits, whose ids were drawn in another order."""

    commits: list[list[Record]]

    @property
    def log(self) -> list[Record]:
        return [record for commit in self.commits for record in commit]

    def cursor(self, position: int) -> Cursor:
        """Where a reader stands who has seen that many commits."""
        seen = {commit[0].xid for commit in self.commits[:position]}
        later = {commit[0].xid for commit in self.commits[position:]}
        xmax = max(seen, default=699) + 1
        return Cursor(Lineage(1, 1, 0), Snapshot(xmax, frozenset(xid for xid in later if xid < xmax)))

    def heard(self, channel: str, begin: int, end: int) -> list[Mark]:
        records = [r for commit in self.commits[begin:end] for r in commit if r.channel == channel]
        return [Received(*tag(record), at=float(record.id)) for record in records]

    def told(self, channel: str, *positions: int, ends: bool = False) -> History:
        """From the first position to the second, a reset, from the third on; to the end, or to the last."""
        marks: list[Mark] = []
        stops = [*positions, *([] if ends else [len(self.commits)])]
        for begin, end in zip(stops[::2], stops[1::2], strict=True):
            marks += [WasReset("expired")] if marks else []
            marks += [Began(self.cursor(begin)), *self.heard(channel, begin, end)]
        return History("ada", channel, [*marks, Ended(0.0)] if ends else marks)


def tag(record: Record) -> tuple[int | str, int]:
    payload = json.loads(record.payload)
    return payload["row"], payload["version"]


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Rows are numbers on one channel and texts on the other."""
    writes = st.lists(st.tuples(st.sampled_from(CHANNELS), st.integers(1, 3)), min_size=1, max_size=4)
    transactions = draw(st.lists(writes, min_size=4, max_size=14))
    xids = draw(st.permutations(range(700, 700 + len(transactions))))
    versions: Counter[tuple[str, int]] = Counter()
    commits: list[list[Record]] = []
    newest = 0
    for xid, written in zip(xids, transactions, strict=True):
        commits.append([])
        for channel, row in written:
            newest += 1
            versions[channel, row] += 1
            named: int | str = row if channel == CHANNELS[0] else str(row)
            payload = json.dumps({"row": named, "version": versions[channel, row], "status": "running"})
            commits[-1].append(Record(xid, newest, channel, payload))
    return Story(commits)


@st.composite
def told(draw: st.DrawFn, *, ends: bool = False, resets: bool = False) -> tuple[Story, History]:
    story = draw(stories())
    count = (4 if ends else 3) if resets else (2 if ends else 1)
    positions = sorted(draw(st.lists(st.integers(0, len(story.commits)), min_size=count, max_size=count)))
    return story, story.told(draw(st.sampled_from(CHANNELS)), *positions, ends=ends)


@st.composite
def any_told(draw: st.DrawFn) -> tuple[Story, History]:
    return draw(told(ends=draw(st.booleans()), resets=draw(st.booleans())))


def faults(story: Story, history: History) -> dict[str, int]:
    found = judge(story.log, [history]).figures()
    return {name: found[name] for name in FAULTS if found[name]}


def heard_at(history: History) -> list[int]:
    return [index for index, mark in enumerate(history.marks) if isinstance(mark, Received)]


def chosen(draw: st.DataObject, history: History, accept: Callable[[History, int], bool]) -> int:
    """An index of something heard of which this is true."""
    candidates = [index for index in heard_at(history) if accept(history, index)]
    assume(candidates)
    return draw.draw(st.sampled_from(candidates))


def anything(history: History, index: int) -> bool:
    return True


def followed(history: History, index: int) -> bool:
    """Something later of the same row was received in the same segment."""
    mark = history.marks[index]
    assert isinstance(mark, Received)
    for later in history.marks[index + 1 :]:
        if not isinstance(later, Received):
            return False
        if later.row == mark.row:
            return True
    return False


def not_followed(history: History, index: int) -> bool:
    return not followed(history, index)


def of(history: History, *marks: Mark) -> History:
    return History(history.subscriber, history.channel, list(marks))


@given(any_told())
def test_what_was_promised_is_ok(told: tuple[Story, History]) -> None:
    story, history = told
    verdict = judge(story.log, [history])
    assert verdict.ok
    assert verdict == Verdict(
        events=len(story.log),
        deliveries=len(heard_at(history)),
        resets=sum(isinstance(mark, WasReset) for mark in history.marks),
    )


@given(any_told(), st.data())
def test_one_that_was_dropped_is_a_silent_gap(told: tuple[Story, History], data: st.DataObject) -> None:
    story, history = told
    del history.marks[chosen(data, history, followed)]
    assert faults(story, history) == {"lost": 1, "gaps": 1}


@given(told(), st.data())
def test_the_last_of_a_row_that_was_dropped_is_lost_and_leaves_it_stale(
    told: tuple[Story, History], data: st.DataObject
) -> None:
    story, history = told
    del history.marks[chosen(data, history, not_followed)]
    assert faults(story, history) == {"lost": 1, "stale": 1}


@given(told(ends=True), st.data())
def test_what_had_not_come_when_a_subscription_ended_is_not_lost(
    told: tuple[Story, History], data: st.DataObject
) -> None:
    story, history = told
    del history.marks[chosen(data, history, not_followed)]
    assert faults(story, history) == {}


@given(stories(), st.data())
def test_what_the_position_at_the_end_covers_is_owed(story: Story, data: st.DataObject) -> None:
    begin, end = sorted(data.draw(st.tuples(*[st.integers(0, len(story.commits))] * 2)))
    history = story.told(CHANNELS[0], begin, end, ends=True)
    history.marks[-1] = Ended(0.0, story.cursor(end))
    assert faults(story, history) == {}
    dropped = chosen(data, history, anything)
    found = {"lost": 1, "gaps": 1} if followed(history, dropped) else {"lost": 1}
    del history.marks[dropped]
    assert faults(story, history) == found


@given(any_told(), st.data())
def test_one_that_came_twice_is_doubled(told: tuple[Story, History], data: st.DataObject) -> None:
    story, history = told
    index = chosen(data, history, anything)
    history.marks.insert(index, history.marks[index])
    assert faults(story, history) == {"doubled": 1}


@given(any_told(), st.data())
def test_one_that_the_position_covers_is_doubled(told: tuple[Story, History], data: st.DataObject) -> None:
    story, history = told
    begins = [i for i, mark in enumerate(history.marks) if isinstance(mark, Began)]
    begin = data.draw(st.sampled_from(begins))
    cursor = history.marks[begin]
    assert isinstance(cursor, Began)
    covered = [r for r in story.log if r.channel == history.channel and cursor.cursor.covers(r.xid)]
    assume(covered)
    history.marks.insert(begin + 1, Received(*tag(data.draw(st.sampled_from(covered))), at=0.0))
    assert faults(story, history) == {"doubled": 1}


@given(told(ends=True), st.data())
def test_two_of_a_row_that_came_the_wrong_way_round_are_reordered(
    told: tuple[Story, History], data: st.DataObject
) -> None:
    story, history = told
    first = chosen(data, history, followed)
    mark = history.marks[first]
    assert isinstance(mark, Received)
    second = next(
        i for i in heard_at(history) if i > first and getattr(history.marks[i], "row", None) == mark.row
    )
    history.marks[first], history.marks[second] = history.marks[second], history.marks[first]
    assert faults(story, history) == {"reordered": 1}


@given(stories())
def test_the_last_two_of_a_row_the_wrong_way_round_leave_it_stale(story: Story) -> None:
    history = story.told(CHANNELS[1], 0)
    assume(len(heard_at(history)) > 1)
    last, before = history.marks[-1], history.marks[-2]
    assert isinstance(last, Received)
    assert isinstance(before, Received)
    assume(last.row == before.row)
    history.marks[-2:] = [last, before]
    assert faults(story, history) == {"reordered": 1, "stale": 1}


@given(any_told(), st.data())
def test_one_that_was_invented_is_a_phantom(told: tuple[Story, History], data: st.DataObject) -> None:
    story, history = told
    index = chosen(data, history, anything)
    mark = history.marks[index]
    assert isinstance(mark, Received)
    history.marks.insert(index, replace(mark, version=mark.version + 1000))
    assert faults(story, history) == {"phantoms": 1}


@given(any_told(), st.data())
def test_one_of_another_channel_has_strayed(told: tuple[Story, History], data: st.DataObject) -> None:
    story, history = told
    foreign = [record for record in story.log if record.channel != history.channel]
    assume(foreign)
    history.marks.insert(1, Received(*tag(data.draw(st.sampled_from(foreign))), at=0.0))
    assert faults(story, history) == {"strayed": 1}


@given(told(ends=True), st.data())
def test_one_after_the_end_is_late(told: tuple[Story, History], data: st.DataObject) -> None:
    story, history = told
    history.marks.append(history.marks[chosen(data, history, anything)])
    assert faults(story, history) == {"late": 1}


@given(stories())
def test_one_between_a_reset_and_the_next_position_is_late(story: Story) -> None:
    mark = Received(*tag(story.log[0]), at=0.0)
    history = History("ada", story.log[0].channel, [Began(story.cursor(0)), WasReset("expired"), mark])
    assert faults(story, history) == {"late": 1}


@given(stories(), st.data())
def test_a_whole_transaction_that_was_dropped_is_lost(story: Story, data: st.DataObject) -> None:
    history = story.told(CHANNELS[0], 0)
    dropped = data.draw(st.sampled_from(story.commits))
    tags = {tag(record) for record in dropped if record.channel == CHANNELS[0]}
    assume(tags)
    history.marks = [
        m for m in history.marks if not isinstance(m, Received) or (m.row, m.version) not in tags
    ]
    found = faults(story, history)
    assert found.pop("lost") == len(tags)
    assert found.keys() <= {"gaps", "stale"}
    assert found


@given(stories(), st.data())
def test_without_its_reset_a_gap_is_lost(story: Story, data: st.DataObject) -> None:
    first, second = sorted(data.draw(st.tuples(*[st.integers(0, len(story.commits))] * 2)))
    history = story.told(CHANNELS[0], 0, first, second)
    missed = len(story.heard(CHANNELS[0], first, second))
    assert faults(story, history) == {}
    forgotten = of(history, *(mark for mark in history.marks if not isinstance(mark, WasReset)))
    assert faults(story, forgotten).get("lost", 0) == missed
    begin, *rest = forgotten.marks
    unnoticed = of(history, begin, *(mark for mark in rest if not isinstance(mark, Began)))
    assert faults(story, unnoticed).get("lost", 0) == missed


def test_what_a_rewind_took_back_is_no_phantom_and_may_come_again_with_another_content() -> None:
    story = Story([[Record(700 + n, n, "run_update", f'{{"row":1,"version":{n}}}')] for n in range(1, 4)])
    far = Cursor(Lineage(1, 1, 0), Snapshot(705))
    lost_and_made_again = [Received(1, 3, 0.0), Received(1, 4, 0.0)]
    again: list[Mark] = [Began(story.cursor(2)), Received(1, 3, 1.0)]
    rewound = History("ada", "run_update", [Began(far), *lost_and_made_again, WasReset("rewound"), *again])
    assert judge(story.log, [rewound]) == Verdict(events=3, deliveries=3, resets=1, undone=1)
    rewound.marks[3] = WasReset("expired")
    assert judge(story.log, [rewound]).figures()["phantoms"] == 1


def test_a_fault_is_told_in_a_sentence() -> None:
    story = Story([[Record(700, 1, "run_update", '{"row":"a","version":1}')]])
    verdict = judge(story.log, [History("ada", "run_update", [Began(story.cursor(0))])])
    assert verdict.examples == (
        "ada on run_update: version 1 of row 'a' was never received",
        "ada on run_update: version 1 of row 'a' is the row's last, but was not received last",
    )


def test_an_event_that_the_log_holds_twice_is_doubled() -> None:
    story = Story([[Record(700, n, "run_update", '{"row":1,"version":1}')] for n in (1, 2)])
    assert judge(story.log, []) == Verdict(
        events=2, doubled=1, examples=("the log on run_update: version 1 of row 1 is in the log twice",)
    )


def test_rows_and_versions_can_be_told_in_another_way() -> None:
    log = [Record(700, 1, "run_update", "a:1"), Record(701, 2, "run_update", "a:2")]
    marks: list[Mark] = [Began(Story([]).cursor(0)), Received("a", 1, 0.0), Received("a", 2, 0.0)]

    def split(payload: str) -> tuple[str, int]:
        row, version = payload.split(":")
        return row, int(version)

    assert judge(log, [History("ada", "run_update", marks)], tag=split).ok


def test_a_payload_without_a_row_is_a_mistake_of_the_test() -> None:
    with pytest.raises(ValueError, match="row"):
        judge([Record(700, 1, "run_update", "{}")], [])


def test_a_hundred_thousand_deliveries_are_judged_in_less_than_a_second() -> None:
    records = [
        Record(700 + n, n, f"runs.{n % 20}", f'{{"row":{n % 200},"version":{n // 200}}}')
        for n in range(20_000)
    ]
    story = Story([[record] for record in records])
    start = Cursor(Lineage(1, 1, 0), Snapshot(700))
    histories = [History(f"s{n}", f"runs.{n % 20}", [Began(start)]) for n in range(100)]
    for history in histories:
        history.marks += story.heard(history.channel, 0, len(records))
    started = time.process_time()
    verdict = judge(records, histories)
    assert verdict == Verdict(events=20_000, deliveries=100_000)
    assert time.process_time() - started < 1


def test_a_hole_that_a_client_told_of_is_an_explicit_gap_and_no_other_reset_excuses_it() -> None:
    log = [Record(701 + n, n + 1, "runs.7", f'{{"row":1,"version":{n + 1}}}') for n in range(4)]
    here, end = Cursor(Lineage(1, 1, 0), Snapshot(701)), Cursor(Lineage(1, 1, 0), Snapshot(704))

    def judged(reason: str) -> Verdict:
        heard = [Received(1, 1, 0.0), Received(1, 3, 0.0)]
        marks: list[Mark] = [Began(here), *heard, WasReset(reason), Began(end), Received(1, 4, 0.0)]
        return judge(log, [History("s", "runs.7", marks)])

    assert (judged("lost").ok, judged("lost").resets) == (True, 1)
    assert judged("expired").gaps == 1
