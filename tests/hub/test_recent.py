"""Recent: what is kept, for how long, and that a cursor gets just what it lacks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from flowcraft.core.recent import Recent
from flowcraft.cursors import Cursor, Lineage, Snapshot
from flowcraft.records import Batch, Record
from flowcraft.settings import Settings

LINEAGE = Lineage(1, 1, 0)
AT = datetime(2026, 11, 22, 20, 13, tzinfo=UTC)


def cursor(xmax: int, *running: int) -> Cursor:
    return Cursor(LINEAGE, Snapshot(xmax, frozenset(running)))


def record(xid: int, channel: str = "runs.7", payload: str = "{}") -> Record:
    return Record(xid, xid, channel, payload)


def batch(*records: Record, running: tuple[int, ...] = ()) -> Batch:
    top = max(r.xid for r in records) + 1
    return Batch(records, cursor(top, *running), Snapshot(top, frozenset(running)), AT)


def recent(*batches: Batch, **limits: float) -> Recent:
    kept = Recent(cursor(700), Settings(**limits))  # type: ignore[arg-type]
    for now, one in enumerate(batches):
        kept.add(one, float(now))
    return kept


def test_a_cursor_gets_what_its_channels_have_after_it_as_it_was_broadcast() -> None:
    kept = recent(batch(record(701), record(702, "runs.8")), batch(record(703)), batch(record(705)))
    assert kept.after(cursor(700), ["runs.7", "runs.8"]) == (
        record(701),
        record(702, "runs.8"),
        record(703),
        record(705),
    )
    assert kept.after(cursor(703), ["runs.7"]) == (record(703), record(705))
    assert kept.after(cursor(706), ["runs.7"]) == ()


def test_a_transaction_that_was_running_in_the_cursor_is_told_when_it_has_come() -> None:
    kept = recent(batch(record(703), running=(701,)), batch(record(701)))
    assert kept.after(cursor(704, 701), ["runs.7"]) == (record(701),)


def test_what_is_too_much_or_too_old_leaves_by_whole_batches() -> None:
    batches = [batch(record(701), record(702)), batch(record(703)), batch(record(704))]
    by_count, by_bytes = recent(*batches, recent_events=3), recent(*batches, recent_bytes=7)
    by_age = recent(*batches, recent_seconds=1.5)
    for kept in (by_count, by_bytes, by_age):
        assert len(kept) == 2
        assert (kept.reaches(cursor(702)), kept.reaches(cursor(703))) == (False, True)
        assert kept.after(cursor(703), ["runs.7"]) == (record(703), record(704))


def test_a_cursor_of_another_history_is_not_reached() -> None:
    other = Cursor(Lineage(1, 1, 1), Snapshot(702))
    assert not recent(batch(record(701))).reaches(other)


def seen(xmax: int, mark: int) -> Cursor:
    """A cursor whose newest event has a mark."""
    return replace(cursor(xmax), marks=frozenset([(xmax - 1, mark)]))


def test_a_cursor_that_has_seen_another_event_of_the_same_number_is_not_reached() -> None:
    kept = Recent(seen(700, 5), Settings(recent_events=2))
    kept.add(replace(batch(record(701), record(703)), cursor=seen(704, 9), marks={701: 7, 703: 9}), 0.0)
    right = [seen(700, 5), seen(702, 7), seen(704, 9), cursor(702)]
    assert [kept.reaches(one) for one in right] == [True] * 4
    assert [kept.reaches(seen(xmax, 1)) for xmax in (700, 702, 703, 704)] == [False] * 4
    # Ahead of the hub: whether it is of this history shows once the hub is there.
    assert kept.reaches(seen(710, 1))
    kept.add(replace(batch(record(709)), cursor=seen(710, 4), marks={709: 4}), 1.0)
    assert (kept.reaches(seen(710, 1)), kept.reaches(seen(710, 4))) == (False, True)


def snapshot(xmax: int, running: frozenset[int]) -> Snapshot:
    return Snapshot(xmax, frozenset(xid for xid in running if xid < xmax))


snapshots = st.builds(snapshot, st.integers(0, 12), st.frozensets(st.integers(0, 11), max_size=4))


@given(snapshots, snapshots, st.integers(0, 14))
def test_the_meet_of_two_snapshots_covers_what_both_cover(a: Snapshot, b: Snapshot, xid: int) -> None:
    meet = a.meet(b)
    assert meet.covers(xid) == (a.covers(xid) and b.covers(xid))
    assert a.contains(meet)
    assert b.contains(meet)
