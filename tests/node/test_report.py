"""CommitDelay: what is told of how long ago a commit was is never too little, and as little as is known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flowcraft.core.delays import BOUNDS, CommitDelay, Histogram
from flowcraft.cursors import Cursor, Lineage, Snapshot
from flowcraft.records import Batch

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def read(second: float, *, oldest: float | None = None) -> Batch:
    """A batch that was read at this second, whose oldest event was stated at that one."""
    stated = None if oldest is None else NOON + timedelta(seconds=oldest)
    here = Snapshot(700)
    return Batch((), Cursor(Lineage(1, 1, 0), here), here, NOON + timedelta(seconds=second), stated)


def following(*seconds: float) -> CommitDelay:
    lateness = CommitDelay()
    lateness.begin(read(seconds[0]))
    for second in seconds[1:]:
        lateness.of(read(second))
    return lateness


def test_an_event_is_not_older_than_the_statement_that_stated_it() -> None:
    assert following(0).of(read(10, oldest=9.5)) == 0.5


def test_a_long_transaction_has_not_been_committed_since_before_the_last_read() -> None:
    assert following(0, 9).of(read(10, oldest=-600)) == 1.0


def test_an_event_of_which_nothing_is_known_is_as_old_as_the_last_read() -> None:
    assert following(0, 7).of(read(10)) == 3.0


def test_what_commits_while_it_is_read_has_not_waited() -> None:
    assert following(0).of(read(10, oldest=10.001)) == 0.0


def test_the_clock_of_another_primary_is_compared_with_its_own_times_only() -> None:
    lateness = following(0, 100)
    lateness.begin(read(40))
    assert lateness.of(read(41)) == 1.0


def test_a_histogram_counts_a_duration_in_the_first_bucket_that_holds_it() -> None:
    histogram = Histogram()
    for seconds, times in ((0.0005, 1), (0.0006, 2), (99.0, 3)):
        histogram.observe(seconds, times)
    assert histogram.buckets == [1, 2, *[0] * (len(BOUNDS) - 2), 3]
    assert histogram.seconds == 0.0005 + 0.0012 + 297
