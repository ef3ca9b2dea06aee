"""Every cursor is answered: what lies after it, once and in order, or one reset that can be explained.

The model is a list of what has committed. Whatever commits, rolls back, is trimmed, lost in a crash, read and
answered in between: a reader's events are those of the list that the hub's position covers and its cursor
does not. One transaction at a time writes to a channel, as if each were a row, so that ids grow within it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from flowcraft.adapters.memory import MemoryTransaction
from flowcraft.core.replay import Replay
from flowcraft.cursors import Cursor, Lineage, ResetReason, Snapshot
from flowcraft.records import Record
from flowcraft.runtime import replays
from flowcraft.settings import Settings
from tests.support.resuming import HeldLog, Reader, SteppedNode

CHANNELS = ("run_update", "runs.7", "runs.8")
LIMITS = Settings(recent_events=4, recent_seconds=3, replay_events=6, backlog_events=9)
FEW = st.integers(0, 3)
RUNNER = asyncio.Runner()
SOME_CHANNELS = st.sets(st.sampled_from(CHANNELS), min_size=1)


class Resuming(RuleBasedStateMachine):
    """A node, its log, and clients that come and go."""

    cursors = Bundle("cursors")

    def __init__(self) -> None:
        super().__init__()
        self.log = HeldLog()
        self.node = SteppedNode(self.log, LIMITS, self.answers_to, RUNNER)
        self.readers = self.node.clients.readers
        self.committed: list[Record] = []
        self.running: list[MemoryTransaction] = []
        self.writers: dict[str, MemoryTransaction] = {}
        self.floor = 700
        self.events = 0
        self.has_lost_commits = False
        self.heard = [self.node.hub.cursor]

    # The database

    @rule()
    def begin(self) -> None:
        if len(self.running) < 3:
            self.running.append(self.log.begin())

    @rule(number=FEW, channel=st.sampled_from(CHANNELS))
    def broadcast(self, number: int, channel: str) -> None:
        if not self.running:
            self.running.append(self.log.begin())
        transaction = self.running[number % len(self.running)]
        if self.writers.setdefault(channel, transaction) is transaction:
            self.events += 1
            transaction.broadcast(channel, str(self.events))

    @rule(number=FEW, commits=st.booleans())
    def end(self, number: int, commits: bool) -> None:
        if not self.running:
            return
        transaction = self.running.pop(number % len(self.running))
        before = self.log.position_now().cursor
        if commits:
            transaction.commit()
            self.committed += self.log.tail_now(before).records
        else:
            transaction.rollback()
        self.writers = {c: t for c, t in self.writers.items() if t is not transaction}

    @rule(channels=st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=5), relayed=st.booleans())
    def commit_some(self, channels: list[str], relayed: bool) -> None:
        for channel in channels:
            if channel not in self.writers:
                self.running.append(self.log.begin())
                self.broadcast(len(self.running) - 1, channel)
                self.end(len(self.running) - 1, commits=True)
            if relayed:
                self.relay_reads_and_feeds()

    # What was issued again and then removed cannot be told from what was delivered and then removed.
    @precondition(lambda self: not self.has_lost_commits)
    @rule(back=st.integers(0, 8))
    def trim(self, back: int) -> None:
        before = self.log.snapshot().xmax - back
        self.log.trim(before=before)
        gone = [r.xid for r in self.committed if r.xid < min([before, *(t.xid for t in self.running)])]
        self.floor = max([self.floor, *(xid + 1 for xid in gone)])

    @precondition(lambda self: self.witnesses())
    @rule(back=FEW)
    def crash_and_lose_what_was_delivered(self, back: int) -> None:
        before = self.witnesses()[-1 - back % len(self.witnesses())]
        self.log.rewind(before=before)
        self.committed = [record for record in self.committed if record.xid < before]
        self.running, self.writers = [], {}
        self.has_lost_commits = True

    def witnesses(self) -> list[int]:
        """The transactions that the hub has delivered, that are still in the log, and may be lost from on."""
        if self.has_lost_commits:
            return []
        delivered = self.node.hub.cursor.covers
        there = {r.xid for r in self.committed if delivered(r.xid) and r.xid >= self.floor}
        return sorted(xid for xid in there if self.may_be_the_first_lost(xid))

    def may_be_the_first_lost(self, xid: int) -> bool:
        """A crash loses the commits from a moment on: none that came later is spared for its smaller id."""
        order = [record.xid for record in self.committed]
        return all(later >= xid for later in order[order.index(xid) :])

    @precondition(lambda self: self.has_lost_commits)
    @rule()
    def another_node_finds_out_first(self) -> None:
        self.log.rewound_now(self.node.hub.cursor)

    # The node

    @rule()
    def relay_reads(self) -> None:
        self.node.relay_reads()

    @rule()
    def relay_feeds(self) -> None:
        before = self.node.hub.cursor.lineage
        self.node.relay_feeds()
        self.heard.append(self.node.hub.cursor)
        if self.node.hub.cursor.lineage != before:
            assert self.node.hub.cursor.lineage == self.log.lineage
            self.has_lost_commits = False

    @rule()
    def relay_reads_and_feeds(self) -> None:
        self.relay_feeds()
        self.relay_reads()
        self.relay_feeds()

    @rule()
    def replays_read(self) -> None:
        self.node.replays_read()

    @rule()
    def a_replay_is_brought(self) -> None:
        self.node.a_replay_is_brought()

    @rule(seconds=FEW)
    def time_passes(self, seconds: int) -> None:
        self.node.clock += seconds

    # The clients

    @rule(target=cursors, xmax=st.integers(-20, 20), running=st.sets(st.integers(-9, 9), max_size=2))
    def a_cursor_is_made_up(self, xmax: int, running: set[int]) -> Cursor:
        here = self.node.hub.cursor
        top = here.snapshot.xmax + xmax
        return Cursor(here.lineage, Snapshot(top, frozenset(x for n in running if (x := top + n) < top)))

    @rule(target=cursors, change=st.sampled_from(["system", "timeline", "generation"]))
    def a_cursor_is_of_another_history(self, change: str) -> Cursor:
        here = self.node.hub.cursor
        system, timeline, generation = here.lineage.system, here.lineage.timeline, here.lineage.generation
        changed = {
            "system": Lineage(system + 1, timeline, generation),
            "timeline": Lineage(system, timeline + 1, generation),
            "generation": Lineage(system, timeline, generation + 7),
        }
        return Cursor(changed[change], here.snapshot)

    @rule(since=st.none() | cursors, channels=SOME_CHANNELS, session=FEW)
    def subscribe(self, since: Cursor | None, channels: set[str], session: int) -> None:
        if session not in {reader.session for reader in self.readers.values()}:
            self.node.hub.subscriptions.connect(session)
        ref = len(self.readers) + 1
        self.readers[ref] = Reader(session, ref, set(channels), since)
        self.node.perform(self.node.hub.subscriptions.subscribe(session, tuple(channels), since, ref))

    @rule(back=st.integers(0, 12), channels=SOME_CHANNELS, session=FEW)
    def subscribe_again(self, back: int, channels: set[str], session: int) -> None:
        self.subscribe(self.heard[-1 - back % len(self.heard)], channels, session)

    @rule(
        back=st.integers(6, 20),
        session=FEW,
        before=st.lists(st.sampled_from(CHANNELS), max_size=3),
        between=st.lists(st.sampled_from(CHANNELS), max_size=3),
        relayed=st.booleans(),
    )
    def a_read_takes_its_time(
        self, back: int, session: int, before: list[str], between: list[str], relayed: bool
    ) -> None:
        self.commit_some(before, relayed=False)
        self.subscribe_again(back, set(CHANNELS), session)
        self.node.replays_read()
        self.commit_some(between, relayed)
        self.node.a_replay_is_brought()

    @rule(channels=SOME_CHANNELS, session=FEW)
    def subscribe_from_a_state(self, channels: set[str], session: int) -> None:
        self.subscribe(self.log.position_now().cursor, channels, session)

    @rule(session=FEW, channels=SOME_CHANNELS)
    def unsubscribe(self, session: int, channels: set[str]) -> None:
        self.node.hub.subscriptions.unsubscribe(session, channels)
        for reader in self.readers.values():
            if reader.session == session:
                reader.channels -= channels
                reader.got = [record for record in reader.got if record.channel in reader.channels]

    # The promise

    def answers_to(self, replay: Replay) -> set[ResetReason | None]:
        """Tell how the log may answer a cursor now: with a reason to refuse it, or with none."""
        since, here = replay.since, self.log.snapshot()
        if since.lineage.system != self.log.lineage.system:
            return {"other_database"}
        if since.lineage != self.log.lineage:
            return {"rewound"}
        own = [r for r in self.committed if r.channel in replay.channels and not since.covers(r.xid)]
        reasons: set[ResetReason | None] = set()
        if since.snapshot.xmax > here.xmax:
            reasons.add("rewound")
        if since.snapshot.xmin < min(self.floor, here.xmax) or len(own) > LIMITS.replay_events:
            reasons.add("expired")
        return reasons or {None}

    @invariant()
    def every_reader_has_what_lies_between_its_cursor_and_the_hubs(self) -> None:
        if self.has_lost_commits:  # what was delivered is wrong now; the relay will find out and say so
            return
        here = self.node.hub.cursor
        for reader in self.readers.values():
            if not reader.is_live:
                assert (reader.got, reader.answers) == ([], 0)
                continue
            assert reader.since is not None
            assert reader.answers == 1
            due = [
                record
                for record in self.committed
                if record.channel in reader.channels
                and here.covers(record.xid)
                and not reader.since.covers(record.xid)
            ]
            assert sorted(r.payload for r in reader.got) == sorted(r.payload for r in due)
            for channel in reader.channels:
                ids = [record.id for record in reader.got if record.channel == channel]
                assert ids == sorted(ids)

    @invariant()
    def nobody_is_served_from_another_history(self) -> None:
        for reader in self.readers.values():
            if reader.is_live and reader.channels and not self.has_lost_commits:
                assert reader.since is not None
                assert reader.since.lineage == self.node.hub.cursor.lineage

    def teardown(self) -> None:
        """Let everything come to an end: then everybody has been answered."""
        while self.running:
            self.end(0, commits=True)
        for _ in range(60):
            self.relay_reads_and_feeds()
            self.node.replays_read()
            self.node.a_replay_is_brought()
        self.every_reader_has_what_lies_between_its_cursor_and_the_hubs()
        assert not self.has_lost_commits
        assert [reader for reader in self.readers.values() if not reader.answers] == []


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(replays, "PAUSE_SECONDS_EACH", 0)
    yield
    RUNNER.close()


Resuming.TestCase.settings = settings(max_examples=400, stateful_step_count=50, deadline=None)
TestResuming = pytest.mark.timeout(180)(Resuming.TestCase)  # 400 examples take 22 s of a processor
