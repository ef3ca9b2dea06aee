"""Lag: bytes that do not leave are noticed by their age, and progress is enough to be let be."""

from __future__ import annotations

from flowcraft.core.lag import Lag


def test_what_has_left_is_never_late() -> None:
    lag = Lag(3.0)
    assert [lag.is_over(100 * n, 100 * n, float(n)) for n in range(10)] == [False] * 10


def test_bytes_that_do_not_leave_are_late_after_the_limit() -> None:
    lag = Lag(3.0)
    assert [lag.is_over(100, 40, float(now)) for now in range(4)] == [False, False, False, True]


def test_who_takes_what_is_old_may_have_as_much_new_waiting() -> None:
    lag = Lag(3.0)
    assert [lag.is_over(100 * now, 100 * (now - 2), float(now)) for now in range(2, 12)] == [False] * 10


def test_some_progress_is_not_enough_if_the_oldest_bytes_are_too_old() -> None:
    lag = Lag(3.0)
    assert [lag.is_over(1000, now, float(now)) for now in range(4)] == [False, False, False, True]


def test_one_that_has_caught_up_begins_anew() -> None:
    lag = Lag(3.0)
    assert [lag.is_over(w, s, t) for w, s, t in ((9, 0, 0.0), (9, 9, 2.9), (18, 9, 3.0), (18, 9, 5.9))] == [
        False
    ] * 4
    assert lag.is_over(18, 9, 6.0)
