"""The machine: no order of events leaves a reader asleep beside a commit that it has not read."""

from __future__ import annotations

import random

import pytest

from flowcraft.core.wakeup import (
    DrawMark,
    Follower,
    Idle,
    Leader,
    NotifyOthers,
    Read,
    Releasing,
    State,
    Step,
    TryLock,
    Unlock,
    Wait,
    WakeupMachine,
)
from flowcraft.cursors import Snapshot
from tests.support.wakeup_model import FRESH, actors, every_end, lost, world


def in_state(state: State) -> WakeupMachine:
    machine = WakeupMachine()
    machine.state = state
    return machine


def read(machine: WakeupMachine, records: int, *, at: float, waited: float = 0.001) -> Step:
    return machine.observe(Snapshot(100), records, waited=waited, now=at)


def made_busy() -> WakeupMachine:
    """Return one that has just asked for the lock."""
    machine = in_state(Idle())
    assert [read(machine, 1, at=n / 1000) for n in range(4)] == [Wait(1.0)] * 3 + [TryLock()]
    return machine


def test_a_single_commit_costs_one_ring_and_one_read() -> None:
    machine = in_state(Idle())
    assert [read(machine, 1, waited=7.0, at=7.0 * n) for n in range(20)] == [Wait(1.0)] * 20


def test_a_reader_that_need_not_wait_for_the_next_event_takes_the_lock_however_long_reads_take() -> None:
    machine = in_state(Idle())
    assert [read(machine, 1, waited=0.0, at=3.0 * n) for n in range(4)] == [Wait(1.0)] * 3 + [TryLock()]
    assert machine.lock_tried(taken=True, now=10.0) == Read()
    assert machine.state == Leader()


def test_whoever_holds_the_lock_keeps_reading_until_it_has_been_quiet_for_a_while() -> None:
    machine = in_state(Leader())
    assert read(machine, 1, at=0.0) == NotifyOthers()
    assert machine.notified(now=0.0) == Wait(0.001_03)
    assert read(machine, 0, at=0.005) == Wait(0.001)
    assert read(machine, 0, at=0.011) == Unlock()


def test_a_leader_rests_longer_after_many_records_and_never_longer_than_a_few_milliseconds() -> None:
    machine = in_state(Leader())
    assert machine.notified(now=0.0) == Unlock()
    rests = [(read(machine, n, at=0.001), machine.state) for n in (1, 10, 19, 20, 100, 100_000)]
    assert rests == [(Wait(s), Leader()) for s in (0.001_03, 0.001_3, 0.001_57, 0.006, 0.006, 0.006)]


def test_letting_go_ends_when_nothing_below_the_mark_runs_any_more() -> None:
    machine = WakeupMachine()
    assert machine.unlocked() == DrawMark()
    assert machine.marked(120) == Read()
    running = Snapshot(121, frozenset({119}))
    pauses = [machine.observe(running, 0, waited=0.0, now=n) for n in range(8)]
    assert pauses == [Wait(s) for s in (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.050, 0.050)]
    assert machine.state == Releasing(120)
    assert machine.observe(Snapshot(121), 0, waited=0.0, now=9) == Wait(1.0)


def tries(machine: WakeupMachine, began: int, ended: int) -> list[int]:
    """The milliseconds at which a busy reader tries the lock, which another one has."""
    found = list[int]()
    for n in range(began, ended):
        if read(machine, 1, at=n / 1000 + 0.000_1) == TryLock():
            found.append(n)
            assert machine.lock_tried(taken=False, now=n / 1000) == Wait(1.0)
    return found


def test_a_lock_that_is_held_is_tried_again_soon_at_first_and_ever_more_seldom() -> None:
    machine = made_busy()
    assert machine.lock_tried(taken=False, now=0.003) == Wait(1.0)
    assert machine.state == Follower()
    assert tries(machine, 4, 200) == [4, 6, 10, 18, 34, 66, 116, 166]
    assert tries(machine, 900, 970) == [900, 950]


def test_a_reader_that_has_not_tried_the_lock_for_a_second_tries_it_again_soon() -> None:
    machine = made_busy()
    assert machine.lock_tried(taken=False, now=0.003) == Wait(1.0)
    assert tries(machine, 4, 200)[-1] == 166
    assert tries(machine, 1_300, 1_310) == [1_300, 1_301, 1_303, 1_307]


def test_a_lost_connection_means_that_the_lock_may_have_been_anybodys() -> None:
    machine = in_state(Leader())
    machine.lost()
    assert read(machine, 0, at=0.0) == DrawMark()


def test_a_reader_far_from_the_database_takes_no_lock_and_gives_back_one_that_it_has() -> None:
    machine = in_state(Idle())
    machine.round_trip = 0.006
    assert [read(machine, 1, at=n / 1000) for n in range(40)] == [Wait(1.0)] * 40
    machine.round_trip = 0.004
    assert read(machine, 1, at=0.040) == TryLock()
    machine.round_trip = 0.006  # measured with the statement that takes the lock
    assert machine.lock_tried(taken=True, now=0.041) == Unlock()
    machine.state = Leader()
    assert read(machine, 1, at=0.050) == NotifyOthers()
    assert machine.notified(now=0.051) == Unlock()


@pytest.mark.parametrize("state", [Leader(), FRESH, Idle(), None])
@pytest.mark.parametrize("writers", [1, 2])
def test_whatever_the_order_of_one_reader_and_its_writers_nothing_is_left_unread(
    state: State | None, writers: int
) -> None:
    ends = [end for end, _ in every_end(world(writers, [state]))]
    assert ends
    assert not any(map(lost, ends))


@pytest.mark.parametrize(
    ("writers", "states"), [(1, [Leader(), None]), (2, [Leader(), Idle()]), (2, [Idle(), None])]
)
def test_whatever_the_order_of_two_readers_the_one_with_the_lock_rings_the_other(
    writers: int, states: list[State | None]
) -> None:
    ends = [end for end, _ in every_end(world(writers, states))]
    assert ends
    assert not any(map(lost, ends))


def test_the_search_finds_the_race_of_a_mark_that_is_only_the_xmax_of_a_snapshot() -> None:
    ways = [path for end, path in every_end(world(1, [Leader()], mark="xmax")) if lost(end)]
    assert len(ways) == 1
    assert "writer 0 need not ring" in ways[0]
    assert ways[0][-1] == "writer 0 commits"


def test_busy_readers_pass_the_lock_on_and_miss_nothing() -> None:
    states: set[tuple[int, type[State]]] = set()
    for seed in range(40):
        chance = random.Random(seed)
        model, writers, readers = world(40, [FRESH, None, None])
        while able := [actor for actor in actors(writers, readers) if actor.can_act(model)]:
            for reader in readers:
                reader.leap = chance.choice([0.0003, 0.0003, 0.0003, 0.02])
                states.add((reader.number, type(reader.machine.state)))
            begun = [actor for actor in able if actor in readers or actor in writers[: model.committed + 4]]
            chance.choice(begun or able).act(model)
        assert model.committed == 40
        assert not lost((model, writers, readers)), f"seed {seed}"
    assert {(number, state) for number in range(3) for state in (Leader, Idle, Follower)} <= states
