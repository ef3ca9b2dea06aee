"""Attendance: what one node writes about its members, against a model, and which nodes it finds ended."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcraft.core.attendance import Attendance, Change, Leases, Seat

pytestmark = pytest.mark.pure
GRACE = 5.0
RUN = "runs_members.7"
ADA = (RUN, "1", "Ada")
GONE = (RUN, "1", None)


def attendance() -> Attendance:
    """Return one whose first list, which is empty, is written."""
    made = Attendance(grace_seconds=GRACE)
    made.wrote(made.changes(0))
    return made


def test_the_first_list_of_a_node_is_a_whole_one() -> None:
    assert (Attendance(grace_seconds=GRACE).is_whole, attendance().is_whole) == (True, False)


def test_who_comes_is_written_once_however_many_pages_there_are() -> None:
    made = attendance()
    made.join(1, *ADA, 0.0)
    made.join(2, *ADA, 0.0)
    assert made.changes(0) == [ADA]
    made.wrote([Change(*ADA)])
    made.join(3, *ADA, 1.0)
    assert made.changes(1) == []


def test_a_member_leaves_a_grace_after_its_last_page() -> None:
    made = attendance()
    for session in (1, 2):
        made.join(session, *ADA, 0.0)
    made.wrote(made.changes(0))
    made.leave(1, RUN, 10.0)
    assert made.due_at() is None
    made.end(2, 20.0)
    assert made.due_at() == 25.0
    assert made.changes(24.9) == []
    assert made.changes(25.0) == [GONE]
    made.wrote([Change(*GONE)])
    assert (made.changes(30.0), len(made)) == ([], 0)


def test_a_page_that_is_reloaded_is_no_news() -> None:
    made = attendance()
    made.join(1, *ADA, 0.0)
    made.wrote(made.changes(0))
    made.end(1, 10.0)
    made.join(2, *ADA, 14.9)
    assert (made.changes(15), made.changes(60), made.due_at()) == ([], [], None)


def test_who_came_and_left_before_it_was_written_is_not_written() -> None:
    made = attendance()
    made.join(1, *ADA, 0.0)
    made.end(1, 0.01)
    assert made.changes(GRACE + 0.01) == []


def test_a_session_that_is_another_member_now_leaves_as_the_one_before() -> None:
    made = attendance()
    made.join(1, *ADA, 0.0)
    made.wrote(made.changes(0))
    made.join(1, RUN, "2", "Grace", 1.0)
    assert made.changes(1) == [Change(RUN, "2", "Grace")]
    made.wrote(made.changes(1))
    assert made.changes(1 + GRACE) == [GONE]


def test_a_frozen_node_lets_nobody_leave() -> None:
    made = attendance()
    made.join(1, *ADA, 0.0)
    made.join(2, RUN, "2", "Grace", 0.0)
    made.wrote(made.changes(0))
    made.end(2, 0.0)
    made.freeze()
    made.end(1, 1.0)
    assert (made.changes(100), made.due_at()) == ([], None)


def test_after_doubt_everything_is_written_and_who_was_leaving_has_the_grace_again() -> None:
    made = attendance()
    made.join(1, *ADA, 0.0)
    made.wrote(made.changes(0))
    made.end(1, 1.0)
    made.doubt(40.0)
    assert made.is_whole
    assert made.changes(40.0) == [ADA]
    made.wrote([Change(*ADA)])
    made.join(2, *ADA, 44.0)
    assert made.changes(100) == []


SEATS = [Seat(f"runs_members.{run}", str(person)) for run in (1, 2) for person in (1, 2)]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["join", "join", "leave", "end", "write", "write", "unsure", "lost", "doubt", "pass"]
        ),
        st.integers(1, 4),
        st.sampled_from(SEATS),
        st.sampled_from("ab"),
    ),
    max_size=40,
)


class Model:
    """Who is where, and a store that may lose a write, or the answer to it."""

    def __init__(self) -> None:
        self.made = Attendance(grace_seconds=GRACE)
        self.stored: dict[Seat, str] = {}
        self.sessions: dict[tuple[int, str], Seat] = {}
        self.infos: dict[Seat, str] = {}
        self.now = 0.0

    def join(self, session: int, seat: Seat, info: str) -> None:
        self.made.join(session, *seat, info, self.now)
        self.sessions[session, seat.channel] = seat
        self.infos[seat] = info

    def leave(self, session: int, seat: Seat, _: str) -> None:
        self.made.leave(session, seat.channel, self.now)
        self.sessions.pop((session, seat.channel), None)

    def end(self, session: int, _: Seat, __: str) -> None:
        self.made.end(session, self.now)
        self.sessions = {key: one for key, one in self.sessions.items() if key[0] != session}

    def write(self, *_: object) -> None:
        self.made.wrote(self.store())

    def unsure(self, *_: object) -> None:
        self.store()
        self.made.doubt(self.now)

    def lost(self, *_: object) -> None:
        self.made.changes(self.now)
        self.made.doubt(self.now)

    def doubt(self, *_: object) -> None:
        self.made.doubt(self.now)

    def store(self) -> list[Change]:
        changes = self.made.changes(self.now)
        if self.made.is_whole:
            self.stored.clear()
        for channel, key, info in changes:
            self.stored.pop(Seat(channel, key), None)
            if info is not None:
                self.stored[Seat(channel, key)] = info
        return changes


@settings(deadline=None, max_examples=400)
@given(STEPS)
def test_what_is_stored_becomes_who_is_there(steps: list[tuple[str, int, Seat, str]]) -> None:
    model = Model()
    for kind, session, seat, info in steps:
        if kind == "pass":
            model.now += 2.0
        else:
            getattr(model, kind)(session, seat, info)
    model.now += GRACE
    model.write()
    assert model.stored == {seat: model.infos[seat] for seat in model.sessions.values()}
    assert (len(model.made), model.made.changes(model.now)) == (len(model.stored), [])


def test_a_change_during_a_write_is_written_next() -> None:
    made = attendance()
    made.join(1, *ADA, 0.0)
    changes = made.changes(0)
    made.join(2, RUN, "1", "Ada L.", 0.1)
    made.wrote(changes)
    assert made.changes(0.2) == [Change(RUN, "1", "Ada L.")]


def leases() -> Leases:
    return Leases(lease_seconds=15, gap_seconds=7.5)


def test_a_node_whose_beat_stands_still_for_a_lease_has_ended() -> None:
    read = leases()
    for second in (0, 5, 10):
        assert read.read({"a": 3, "b": second}, second) == {}
    assert read.read({"a": 3, "b": 15}, 15) == {"a": 3}


def test_a_beat_counts_by_its_change_and_not_by_its_size() -> None:
    read = leases()
    for second, beat in ((0, 9), (5, 1), (10, 9), (15, 8), (20, 8), (25, 8)):
        assert read.read({"a": beat}, second) == {}
    assert read.read({"a": 8}, 30) == {"a": 8}


def test_no_node_has_ended_before_this_one_has_read_for_a_lease() -> None:
    """The database was away, or this process stood still: nobody's beat could be seen meanwhile."""
    read = leases()
    for second in (0, 5, 10):
        read.read({"a": 3}, second)
    assert read.read({"a": 3}, 40) == {}
    assert [read.read({"a": 3}, second) for second in (45, 50, 55)] == [{}, {}, {"a": 3}]


def test_a_node_that_is_gone_is_forgotten_and_may_come_again() -> None:
    read = leases()
    for second in (0, 5, 10):
        read.read({"a": 3}, second)
    read.read({}, 14)
    assert read.read({"a": 3}, 18) == {}
