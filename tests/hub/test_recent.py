"""Recent: what is kept, for how long, and that a cursor gets just what it lacks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from flowcraft.core.recent import Recent
from flowcraft.cursors import Cursor, Lineage, Snapshot
from flowcraft.records import Batch, Record, with_families
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
        assert (kept.reaches(cursor(702), ["runs.7"]), kept.reaches(cursor(703), ["runs.7"])) == (False, True)
        assert kept.after(cursor(703), ["runs.7"]) == (record(703), record(704))


def test_a_busy_channel_leaves_the_others_their_events() -> None:
    kept = recent(batch(record(701, "runs.8"), record(702)), recent_events=100)
    for xid in range(703, 3000):
        kept.add(batch(record(xid)), 1.0)
    assert len(kept) <= 100
    assert not kept.reaches(cursor(701), ["runs.7"])
    assert kept.reaches(cursor(701), ["runs.8", "users.1"])
    assert kept.after(cursor(701), ["runs.8", "users.1"]) == (record(701, "runs.8"),)
    assert kept.after(cursor(2998), ["runs.7"]) == (record(2998), record(2999))
    assert len(kept._batches) <= 200  # pyright: ignore[reportPrivateUsage]


def test_channels_with_large_events_lose_theirs_first() -> None:
    large = "x" * 400
    batches = [batch(record(701 + n, f"runs.{n % 2}", large if n % 2 else "{}")) for n in range(40)]
    kept = recent(*batches, recent_bytes=4000, recent_events=1000)
    assert kept.reaches(cursor(701), ["runs.0"])
    assert not kept.reaches(cursor(701), ["runs.1"])


def test_where_all_channels_are_alike_the_oldest_events_leave() -> None:
    batches = [batch(record(701 + n, f"runs.{n}")) for n in range(30)]
    kept = recent(*batches, recent_events=10)
    assert (kept.reaches(cursor(720), ["none"]), kept.reaches(cursor(721), ["none"])) == (False, True)


def test_a_channel_without_records_is_reached_until_a_floor_is_one_too_many() -> None:
    kept = recent(recent_events=2)
    for n in range(4):
        kept.add(batch(*(record(701 + 10 * n + i, f"runs.{n}") for i in range(5))), 0.0)
        assert kept.reaches(cursor(701), ["none"]) == (n < 2)
    assert kept.reaches(cursor(716), ["none"])


def test_a_cursor_with_the_mark_of_a_busy_channel_reaches_a_quiet_one() -> None:
    kept = recent(recent_events=10)
    for xid in range(701, 3000):
        kept.add(replace(batch(record(xid)), cursor=seen(xid + 1, xid), marks={xid: xid}), 0.0)
    assert kept.reaches(seen(800, 799), ["runs.8"])
    assert not kept.reaches(seen(800, 798), ["runs.8"])


def test_a_cursor_of_another_history_is_not_reached() -> None:
    other = Cursor(Lineage(1, 1, 1), Snapshot(702))
    assert not recent(batch(record(701))).reaches(other, ["runs.7"])


def seen(xmax: int, mark: int) -> Cursor:
    """A cursor whose newest event has a mark."""
    return replace(cursor(xmax), marks=frozenset([(xmax - 1, mark)]))


def test_a_cursor_that_has_seen_another_event_of_the_same_number_is_not_reached() -> None:
    kept = Recent(seen(700, 5), Settings(recent_events=2))
    kept.add(replace(batch(record(701), record(703)), cursor=seen(704, 9), marks={701: 7, 703: 9}), 0.0)

    def reached(xmax: int, mark: int) -> bool:
        return kept.reaches(seen(xmax, mark), ["runs.8"])

    assert kept.reaches(cursor(702), ["runs.8"])
    assert [reached(700, 5), reached(702, 7), reached(704, 9)] == [True] * 3
    assert [reached(xmax, 1) for xmax in (700, 702, 703, 704)] == [False] * 4
    # Ahead of the hub: whether it is of this history shows once the hub is there.
    assert reached(710, 1)
    kept.add(replace(batch(record(709)), cursor=seen(710, 4), marks={709: 4}), 1.0)
    assert (reached(710, 1), reached(710, 4)) == (False, True)


NAMES = ("runs.7", "runs.8", "runs.*", "users.1", "stats")
commits = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 2, 3, 7]),  # how much later than others it commits
        st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 30)), min_size=1, max_size=4),
        st.booleans(),  # whether a batch ends after it
        st.sampled_from([0.0, 0.0, 1.0]),
    ),
    max_size=40,
)


@given(commits, st.integers(1, 20), st.integers(1, 200))
def test_a_replay_from_memory_is_what_the_log_has_or_is_not_given(
    commits: list[tuple[int, list[tuple[str, int]], bool, float]], events: int, size: int
) -> None:
    kept = recent(recent_events=events, recent_bytes=size, recent_seconds=2.5)
    order = sorted(range(len(commits)), key=lambda n: n + commits[n][0])
    log, since, read, positions, now = list[Record](), {701 + n for n in order}, 0, [cursor(700)], 0.0
    for n in order:
        since.remove(701 + n)
        _, contents, ends, pause = commits[n]
        log += [Record(701 + n, 10 * n + i, name, "x" * long) for i, (name, long) in enumerate(contents)]
        top = max(r.xid for r in log) + 1
        positions.append(cursor(top, *[xid for xid in since if xid < top]))
        if ends:
            now += pause
            log[read:] = sorted(log[read:], key=lambda one: one.id)
            kept.add(Batch(tuple(log[read:]), positions[-1], positions[-1].snapshot, AT), now)
            read = len(log)
            for position in positions:
                for names in ({"runs.7"}, {"runs.8", "stats"}, {"users.1"}, set(NAMES) - {"runs.*"}):
                    wanted = tuple(
                        r
                        for r in log[:read]
                        if r.channel in with_families(names) and not position.covers(r.xid)
                    )
                    assert not kept.reaches(position, names) or kept.after(position, names) == wanted
            assert len(kept) <= events
            assert sum(len(r.payload) for r in kept.after(cursor(0), set(NAMES))) <= size
    kept.add(Batch((), positions[-1], positions[-1].snapshot, AT), now + 10)
    assert len(kept) == 0


def snapshot(xmax: int, running: frozenset[int]) -> Snapshot:
    return Snapshot(xmax, frozenset(xid for xid in running if xid < xmax))


snapshots = st.builds(snapshot, st.integers(0, 12), st.frozensets(st.integers(0, 11), max_size=4))


@given(snapshots, snapshots, st.integers(0, 14))
def test_the_meet_of_two_snapshots_covers_what_both_cover(a: Snapshot, b: Snapshot, xid: int) -> None:
    meet = a.meet(b)
    assert meet.covers(xid) == (a.covers(xid) and b.covers(xid))
    assert a.contains(meet)
    assert b.contains(meet)
