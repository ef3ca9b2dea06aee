"""Replays: a herd costs a handful of reads, and nobody's cursor spoils it for the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from flowcraft.adapters.memory import MemoryLog
from flowcraft.core.counts import Counts
from flowcraft.core.replay import Replay
from flowcraft.cursors import Cursor, Lineage, Snapshot
from flowcraft.errors import CursorRewound, CursorUnusable, LogUnavailable
from flowcraft.records import Batch, Limit
from flowcraft.runtime.isolation import Isolation
from flowcraft.runtime.replays import MOST_FAILURES, Answer, Replays
from flowcraft.runtime.supervisor import Supervisor
from flowcraft.settings import Settings


class Herd:
    """Catch-ups, and what became of each."""

    def __init__(self, log: MemoryLog, replay_events: int = 100_000) -> None:
        self.answers: dict[int, str | list[int]] = {}
        self.supervisor = Supervisor()
        self.counts = Counts()
        settings, isolation = Settings(replay_events=replay_events), Isolation(self.counts, {})
        self.replays = Replays(log, self.supervisor, self._take, settings, isolation)
        self._done = asyncio.Event()
        self.failures = 0
        """How often taking answers is to fail."""

    async def come(self, *members: tuple[Cursor, str]) -> None:
        """Come all at once, and wait until each has its answer."""
        for number, (since, channels) in enumerate(members):
            self.replays.add(Replay(number, set(channels.split()), since, None))
        await self.until_answered(len(members))

    async def until_answered(self, count: int) -> None:
        """Wait until so many have their answer."""
        async with asyncio.timeout(10):
            while len(self.answers) < count:
                self._done.clear()
                await self._done.wait()

    def _take(self, answers: Sequence[tuple[Replay, Answer]]) -> None:
        if self.failures:
            self.failures -= 1
            raise ValueError("planted")
        for replay, answer in answers:
            assert replay.session not in self.answers, "answered twice"
            if isinstance(answer, Batch):
                replay.replayed = answer.records
                mine = replay.merge(answer.cursor)
                self.answers[replay.session] = [record.id for record in mine]
            elif isinstance(answer, CursorUnusable):
                self.answers[replay.session] = answer.reason
            else:
                self.answers[replay.session] = "unavailable"
        self._done.set()


def log_of(count: int, channels: int = 10) -> tuple[MemoryLog, list[Cursor]]:
    """A log of so many commits, and the position before each."""
    log, cursors = MemoryLog(), list[Cursor]()
    for number in range(count):
        cursors.append(log.position_now().cursor)
        log.broadcast(f"runs.{number % channels}", "{}")
    return log, cursors


async def test_ten_thousand_with_cursors_of_their_own_cost_a_handful_of_reads() -> None:
    log, cursors = log_of(100)
    herd = Herd(log)
    members = [(cursors[n % 100], f"runs.{n % 10}") for n in range(10_000)]
    await herd.come(*members)
    assert herd.counts.replay_reads <= 2
    for number, (since, channel) in enumerate(members):
        owed = [r.id for r in log.replay_now(since, [channel]).records]
        assert herd.answers[number] == owed


async def test_those_that_are_too_old_do_not_spoil_it_for_the_others() -> None:
    log, cursors = log_of(50)
    log.trim(before=725)
    herd = Herd(log)
    await herd.come(*[(since, "runs.0 runs.1") for since in cursors])
    assert herd.counts.replay_reads <= 2
    kept = [n for n, answer in herd.answers.items() if answer != "expired"]
    assert kept == list(range(25, 50))
    assert herd.answers[25] == [31, 32, 41, 42]


async def test_those_that_want_too_much_are_told_so_and_the_others_are_served() -> None:
    log, cursors = log_of(1_000)
    herd = Herd(log, replay_events=30)
    await herd.come(*[(since, "runs.0") for since in cursors])
    assert herd.counts.replay_reads <= 20
    for number, since in enumerate(cursors):
        owed = [r.id for r in log.replay_now(since, ["runs.0"]).records]
        assert herd.answers[number] == (owed if len(owed) <= 30 else "expired")


async def test_many_that_together_want_too_much_and_each_does_not_are_all_served() -> None:
    log, cursors = log_of(200)
    herd = Herd(log, replay_events=50)
    await herd.come(*[(cursors[0], f"runs.{n}") for n in range(10)])
    assert [len(herd.answers[n]) for n in range(10)] == [20] * 10


async def test_who_unsubscribes_while_too_much_is_read_spoils_it_for_nobody() -> None:
    """What they wanted then was too much; what is left of it says nothing about others."""
    log, cursors = log_of(200)
    herd = Herd(log, replay_events=50)
    leaver = Replay(0, {"runs.0", "runs.1", "runs.2"}, cursors[1], None)
    replay = log.replay

    async def read_slowly(after: Cursor, channels: Sequence[str], *, limit: Limit | None = None) -> Batch:
        try:
            return await replay(after, channels, limit=limit)
        finally:
            if after == leaver.since:  # it is alone by now
                leaver.channels.clear()

    log.replay = read_slowly  # type: ignore[method-assign]
    herd.replays.add(leaver)
    herd.replays.add(Replay(1, {"runs.3"}, cursors[0], None))
    await herd.until_answered(2)
    assert herd.answers[1] == list(range(4, 201, 10))


async def test_another_history_is_answered_apart() -> None:
    log, cursors = log_of(10)
    other = replace(cursors[3], lineage=Lineage(9, 1, 0))
    earlier = replace(cursors[3], lineage=Lineage(1, 1, 7))
    ahead = replace(cursors[3], snapshot=Snapshot(10_000))
    herd = Herd(log)
    await herd.come((cursors[8], "runs.8"), (other, "runs.8"), (earlier, "runs.8"), (ahead, "runs.8"))
    assert herd.answers == {0: [9], 1: "other_database", 2: "rewound", 3: "rewound"}


class PutBack(MemoryLog):
    """A log that never had the events with mark 9."""

    async def replay(self, after: Cursor, channels: Sequence[str], *, limit: Limit | None = None) -> Batch:
        lost = frozenset(seen for seen in after.marks if seen[1] == 9)
        if lost:
            raise CursorRewound(str(after), lost)
        return await super().replay(after, channels, limit=limit)


async def test_those_that_have_seen_what_is_lost_are_answered_and_the_others_are_served() -> None:
    log = PutBack()
    cursors = [(await log.position()).cursor]
    for n in range(400):
        log.broadcast("runs.0", str(n))
        cursors.append((await log.position()).cursor)
    herd = Herd(log)
    members = [
        (replace(one, marks=frozenset([(one.snapshot.xmax - 1, 9 if n % 2 else 1)])), "runs.0")
        for n, one in enumerate(cursors)
    ]
    await herd.come(*members)
    assert all(herd.answers[n] == "rewound" for n in range(1, 400, 2))
    assert all(herd.answers[n] == list(range(n + 1, 401)) for n in range(0, 401, 2))
    assert herd.counts.replay_reads <= 4


async def test_a_log_that_cannot_be_read_is_no_answer_to_anybody() -> None:
    class Away(MemoryLog):
        async def replay(
            self, after: Cursor, channels: Sequence[str], *, limit: Limit | None = None
        ) -> Batch:
            raise LogUnavailable("away")

    _, cursors = log_of(2)
    herd = Herd(Away())
    await herd.come((cursors[0], "runs.0"), (cursors[1], "runs.1"))
    assert herd.answers == {0: "unavailable", 1: "unavailable"}


class Failing(MemoryLog):
    """A log that fails wherever one of these channels is read, among others or alone."""

    def __init__(self, log: MemoryLog, poison: set[str], error: BaseException) -> None:
        super().__init__()
        self._inner = log
        self.poison = poison
        self._error = error

    async def replay(self, after: Cursor, channels: Sequence[str], *, limit: Limit | None = None) -> Batch:
        if self.poison.intersection(channels):
            raise self._error
        return self._inner.replay_now(after, channels, limit=limit)


@pytest.mark.parametrize(
    "error", [ValueError("planted"), OverflowError(), asyncio.CancelledError()], ids=repr
)
async def test_those_whose_read_fails_are_found_among_thousands_and_all_others_are_served(
    error: BaseException,
) -> None:
    log, cursors = log_of(1_000, channels=1_000)
    herd = Herd(Failing(log, {"runs.0", "runs.637", "runs.638"}, error))
    await herd.come(*[(since, f"runs.{n}") for n, since in enumerate(cursors)])
    bad = {0: "unreadable", 637: "unreadable", 638: "unreadable"}
    assert herd.answers == {n: [n + 1] for n in range(1_000)} | bad
    assert herd.counts.failures["replay"] == 3
    assert herd.counts.replay_reads < MOST_FAILURES


async def test_a_read_that_fails_once_is_no_reason_for_a_reset() -> None:
    log, cursors = log_of(100)
    failing = Failing(log, {"runs.0"}, ValueError("planted"))
    herd = Herd(failing)
    replay = failing.replay

    async def heal(after: Cursor, channels: Sequence[str], *, limit: Limit | None = None) -> Batch:
        try:
            return await replay(after, channels, limit=limit)
        finally:
            failing.poison = set()

    failing.replay = heal  # type: ignore[method-assign]
    await herd.come((cursors[0], "runs.0"), (cursors[90], "runs.0"), (cursors[90], "runs.5"))
    assert herd.answers == {0: [*range(1, 101, 10)], 1: [91], 2: [96]}


async def test_a_log_that_fails_for_all_is_asked_a_bounded_number_of_times_and_all_are_answered() -> None:
    log, cursors = log_of(1_000)
    herd = Herd(Failing(log, {f"runs.{n}" for n in range(10)}, ValueError("planted")))
    await herd.come(*[(since, f"runs.{n % 10}") for n, since in enumerate(cursors)])
    assert set(herd.answers.values()) == {"unreadable"}
    assert herd.counts.replay_reads <= MOST_FAILURES + 20


async def test_an_answer_that_fails_costs_the_others_nothing_and_later_ones_are_served() -> None:
    log, cursors = log_of(100)
    herd = Herd(log)
    herd.failures = 1
    await herd.come(*[(since, "runs.0") for since in cursors])
    assert len(herd.answers) == 100
    herd.answers.clear()
    await herd.come((cursors[0], "runs.0"))
    assert herd.answers[0] == [*range(1, 101, 10)]


async def test_who_comes_after_a_herd_was_served_is_served_too() -> None:
    log, cursors = log_of(3)
    herd = Herd(log)
    await herd.come((cursors[0], "runs.0"))
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "replays"))
    herd.replays.add(Replay(1, {"runs.1"}, cursors[1], None))
    await herd.until_answered(2)
    assert herd.answers == {0: [1], 1: [2]}
