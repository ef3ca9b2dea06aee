"""The chain: links of two relays in any order, lost, cut and repeated, give each event once and in order."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flowcraft.adapters.memory import MemoryLog, MemoryTransaction
from flowcraft.core.chain import AHEAD_LINKS, Chain, Link, Taken
from flowcraft.core.parts import SENDERS, Part, Parts
from flowcraft.cursors import Cursor, Lineage, Snapshot
from flowcraft.errors import CursorRewound
from flowcraft.records import Batch, Limit, Record
from tests.support.histories import PERFECT, judge

MUCH = Limit(10_000, 10**9)


def chain_at(log: MemoryLog, limit: Limit = MUCH) -> tuple[Chain, Cursor]:
    chain, position = Chain(limit), log.position_now()
    chain.begin(position)
    return chain, position.cursor


def link(log: MemoryLog, after: Cursor) -> Link:
    return Link(after, log.tail_now(after))


def payloads(batch: Batch | None) -> list[str] | None:
    return None if batch is None else [record.payload for record in batch.records]


def test_a_link_that_continues_is_read_and_the_next_read_asks() -> None:
    log = MemoryLog()
    chain, start = chain_at(log)
    log.broadcast("runs.1", "1")
    assert chain.take(link(log, start)) is Taken.CONTINUED
    batch = chain.read(start)
    assert batch is not None
    assert batch == log.tail_now(start)
    assert chain.read(batch.cursor) is None


def test_links_of_two_relays_overlap_and_each_event_is_read_once() -> None:
    log = MemoryLog()
    chain, start = chain_at(log)
    log.broadcast("runs.1", "1")
    first = link(log, start)
    log.broadcast("runs.1", "2")
    both = link(log, start)
    assert [chain.take(one) for one in (first, both, first, both)] == [
        Taken.CONTINUED,
        Taken.CONTINUED,
        Taken.KNOWN,
        Taken.KNOWN,
    ]
    assert payloads(chain.read(start)) == ["1", "2"]


def test_a_link_ahead_waits_for_the_one_before_it() -> None:
    log = MemoryLog()
    chain, start = chain_at(log)
    log.broadcast("runs.1", "1")
    first = link(log, start)
    log.broadcast("runs.1", "2")
    second = link(log, first.batch.cursor)
    assert (chain.take(second), chain.has_gap, chain.read(start)) == (Taken.AHEAD, True, None)
    assert (chain.take(first), chain.has_gap) == (Taken.CONTINUED, False)
    assert payloads(chain.read(start)) == ["1", "2"]


def test_an_answer_closes_a_gap_and_what_arrived_meanwhile_is_not_lost() -> None:
    log = MemoryLog()
    chain, start = chain_at(log)
    log.broadcast("runs.1", "lost")
    answer = log.tail_now(start)
    log.broadcast("runs.1", "2")
    second = link(log, answer.cursor)
    assert chain.take(second) is Taken.AHEAD
    chain.begin(answer)
    assert chain.has_gap is False
    assert payloads(chain.read(answer.cursor)) == ["2"]


def test_an_answer_older_than_what_arrived_repeats_nothing() -> None:
    log = MemoryLog()
    chain, start = chain_at(log)
    log.broadcast("runs.1", "1")
    answer = log.tail_now(start)
    log.broadcast("runs.1", "2")
    assert chain.take(link(log, start)) is Taken.CONTINUED
    chain.begin(answer)
    assert payloads(chain.read(answer.cursor)) == ["2"]


def test_a_transaction_without_events_is_confirmed_by_a_link_without_records() -> None:
    log = MemoryLog()
    chain, start = chain_at(log)
    silent = log.begin()
    silent.commit()
    assert chain.take(link(log, start)) is Taken.CONTINUED
    batch = chain.read(start)
    assert batch is not None
    assert (batch.records, batch.cursor, batch.snapshot.covers(silent.xid)) == ((), start, True)


def test_a_confirmation_beyond_a_lost_link_is_a_gap() -> None:
    log = MemoryLog()
    chain, start = chain_at(log)
    log.broadcast("runs.1", "lost")
    reached = log.position_now().cursor
    assert chain.take(link(log, reached)) is Taken.AHEAD
    assert (chain.has_gap, chain.read(start)) == (True, None)


def test_an_older_lineage_is_ignored_and_a_newer_one_has_the_reader_ask() -> None:
    log = MemoryLog()
    chain, start = chain_at(log)
    log.broadcast("runs.1", "lost with the primary")
    stale = link(log, start)
    assert chain.take(stale) is Taken.CONTINUED
    promoted = MemoryLog(lineage=replace(log.lineage, timeline=2))
    begun = link(promoted, promoted.position_now().cursor)
    assert chain.take(begun) is Taken.AHEAD
    assert (chain.has_gap, chain.read(start)) == (True, None)
    assert chain.take(stale) is Taken.IGNORED
    assert chain.is_outdated(log.lineage)
    chain.begin(promoted.position_now())
    assert chain.has_gap is False
    promoted.broadcast("runs.1", "2")
    assert chain.take(link(promoted, begun.after)) is Taken.CONTINUED
    assert payloads(chain.read(begun.after)) == ["2"]


@pytest.mark.parametrize("lineage", [Lineage(2, 1, 0), Lineage(1, 1, 0, 5), Lineage(1, 9, 9, 5)])
def test_links_of_another_database_are_ignored(lineage: Lineage) -> None:
    chain, _ = chain_at(MemoryLog())
    other = MemoryLog(lineage=lineage)
    assert chain.take(link(other, other.position_now().cursor)) is Taken.IGNORED
    assert (chain.has_gap, chain.has_news) == (False, False)


def test_a_position_never_goes_back_whatever_the_clock_of_the_database() -> None:
    log = MemoryLog()
    chain, start = chain_at(log)
    log.broadcast("runs.1", "1")
    older = link(log, start)
    log.broadcast("runs.1", "2")
    newer = link(log, start)
    chain.take(newer)
    later = replace(older.batch, at=newer.batch.at + timedelta(hours=1))
    assert chain.take(Link(start, later)) is Taken.CONTINUED
    batch = chain.read(start)
    assert batch == replace(newer.batch, at=later.at)


def test_what_has_arrived_is_for_the_reader_at_its_position_only() -> None:
    log = MemoryLog()
    chain, start = chain_at(log)
    log.broadcast("runs.1", "1")
    chain.take(link(log, start))
    assert chain.read(log.position_now().cursor) is None
    assert payloads(chain.read(start)) == ["1"]


@pytest.mark.parametrize("limit", [Limit(3), Limit(100, 3)])
def test_a_reader_that_is_too_far_behind_asks(limit: Limit) -> None:
    log = MemoryLog()
    chain, start = chain_at(log, limit)
    after = start
    for number in range(3):
        log.broadcast("runs.1", str(number))
        chain.take(link(log, after))
        after = log.position_now().cursor
    assert (chain.has_news, chain.has_gap) == (True, False)
    log.broadcast("runs.1", "3")
    chain.take(link(log, after))
    assert (chain.read(start), chain.has_gap) == (None, True)


def test_what_waits_ahead_is_bounded() -> None:
    log = MemoryLog()
    chain, start = chain_at(log)
    log.broadcast("runs.1", "lost")
    after = log.position_now().cursor
    for number in range(AHEAD_LINKS + 1):
        log.broadcast("runs.1", str(number))
        assert chain.take(link(log, after)) is Taken.AHEAD
        after = log.position_now().cursor
    chain.begin(log.tail_now(start))
    assert (chain.has_gap, chain.has_news) == (False, False)


# two relays, a network that loses, repeats and reorders, and a primary that loses commits


@dataclass
class World:
    """A log with writers, two relays, the links on their way, and one reader."""

    log: MemoryLog = field(default_factory=MemoryLog)
    running: dict[int, MemoryTransaction] = field(default_factory=dict[int, MemoryTransaction])
    """Transactions that run, by the row that each has locked."""
    versions: dict[int, int] = field(default_factory=dict[int, int])
    uncommitted: dict[int, int] = field(default_factory=dict[int, int])
    network: list[Link] = field(default_factory=list[Link])
    got: list[Record] = field(default_factory=list[Record])
    pending: Batch | None = None
    """An answer on its way to the reader."""

    def __post_init__(self) -> None:
        self.chain, self.cursor = chain_at(self.log)
        self.relays = [self.cursor, self.cursor]

    def write(self, n: int) -> None:
        row = n % 4
        if row not in self.running:
            self.running[row], self.uncommitted[row] = self.log.begin(), 0
        self.uncommitted[row] += 1
        self.running[row].broadcast(f"rows.{row}", str(self.versions.get(row, 0) + self.uncommitted[row]))

    def end(self, n: int) -> None:
        for row in [n % 4] if n % 3 else list(self.running):
            if row in self.running:
                transaction = self.running.pop(row)
                if n % 5:
                    transaction.commit()
                    self.versions[row] = self.versions.get(row, 0) + self.uncommitted[row]
                else:
                    transaction.rollback()

    def publish(self, n: int) -> None:
        relay = n % 2
        try:
            batch = self.log.tail_now(self.relays[relay])
        except CursorRewound:
            batch = self.log.rewound_now(self.relays[relay])
            self.relays[relay] = batch.cursor
        self.network.append(Link(self.relays[relay], batch))
        self.relays[relay] = batch.cursor

    def restart(self, n: int) -> None:
        self.relays[n % 2] = self.log.position_now().cursor

    def deliver(self, n: int) -> None:
        if self.network:
            place = n % min(len(self.network), 5)
            one = self.network[place] if n % 4 == 0 else self.network.pop(place)
            self.chain.take(one)

    def deliver_all(self, n: int) -> None:
        while self.network:
            self.deliver(n | 1)

    def lose(self, n: int) -> None:
        if self.network:
            del self.network[n % len(self.network)]

    def read(self, _: int) -> None:
        if self.pending is None:
            batch = self.chain.read(self.cursor)
            if batch is not None:
                self.accept(batch)

    def ask(self, n: int) -> None:
        if self.pending is not None:
            self.answered(n)
        try:
            self.pending = self.log.tail_now(self.cursor)
        except CursorRewound:
            self.reset(self.log.rewound_now(self.cursor))

    def answered(self, _: int) -> None:
        if self.pending is not None:
            batch, self.pending = self.pending, None
            self.chain.begin(batch)
            self.accept(batch)

    def rewind(self, n: int) -> None:
        """Lose the newest commits, as after a crash; relays and reader find that out by themselves."""
        if n % 7 or self.pending is not None:
            return
        records = self.log.tail_now(Cursor(self.log.lineage, Snapshot(700))).records
        self.running.clear()
        self.log.rewind(before=max([r.xid for r in records], default=700))
        kept = self.log.tail_now(Cursor(self.log.lineage, Snapshot(700))).records
        self.versions = {}
        for record in kept:
            self.versions[int(record.channel[5:])] = int(record.payload)
        # A real primary is found to be behind before it serves again: see `rewound`.
        self.log.rewound_now(Cursor(self.log.lineage, Snapshot(700)))

    def accept(self, batch: Batch) -> None:
        self.got += batch.records
        self.cursor = batch.cursor
        self.check(batch.snapshot)

    def check(self, snapshot: Snapshot) -> None:
        """The reader has what is visible in the snapshot, each once; its position covers just that."""
        if self.cursor.lineage != self.log.lineage:
            return  # what it has may be lost
        every = self.log.tail_now(Cursor(self.log.lineage, Snapshot(700))).records
        wanted = [record for record in every if snapshot.covers(record.xid)]
        assert sorted(self.got, key=lambda record: record.id) == wanted
        assert [record for record in every if self.cursor.covers(record.xid)] == wanted

    def reset(self, position: Batch) -> None:
        """Load the state again at a position."""
        self.chain.begin(position)
        every = self.log.tail_now(Cursor(self.log.lineage, Snapshot(700))).records
        self.got = [record for record in every if position.cursor.covers(record.xid)]
        self.cursor = position.cursor

    def settle(self) -> None:
        for row in list(self.running):
            self.running.pop(row).rollback()
        self.deliver_all(1)
        self.answered(0)
        if self.chain.has_news:
            self.read(0)
        self.ask(0)
        self.answered(0)
        assert judge([(int(r.channel[5:]), int(r.payload)) for r in self.got], self.versions) == PERFECT


STEPS = [
    *("write", "write", "end", "end", "publish", "publish", "deliver", "deliver", "deliver_all", "lose"),
    *("read", "read", "ask", "answered", "restart", "rewind"),
]


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 59)), max_size=80))
@example(
    [("write", 0), ("end", 1), ("publish", 0), ("lose", 0), ("publish", 0), ("deliver_all", 0), ("read", 0)]
)
def test_links_in_any_order_are_applied_exactly_or_asked_for(steps: list[tuple[str, int]]) -> None:
    world = World()
    for name, n in steps:
        getattr(world, name)(n)
    world.settle()


@given(st.lists(st.tuples(st.sampled_from(STEPS[:-6]), st.integers(0, 59)), max_size=60))
def test_without_a_loss_and_in_order_nothing_has_to_be_asked_for(steps: list[tuple[str, int]]) -> None:
    world = World()
    for name, n in steps:
        if name not in {"lose", "deliver"}:
            getattr(world, name)(n & ~1 if name == "publish" else n)
        while world.network:
            assert world.chain.take(world.network.pop(0)) is not Taken.AHEAD
        world.read(0)
    assert world.chain.has_gap is False


# parts


@given(
    st.lists(st.binary(max_size=9), min_size=1, max_size=8),
    st.lists(st.integers(0, 60), max_size=30),
    st.sets(st.integers(0, 40), max_size=3),
)
def test_a_message_is_joined_from_all_of_its_parts_or_dropped(
    messages: list[bytes], order: list[int], lost: set[int]
) -> None:
    """Two senders interleave; each sends its parts in order, and some are lost."""
    queues: list[list[Part]] = [[], []]
    for number, message in enumerate(messages):
        cuts = [message[at : at + 3] for at in range(0, len(message), 3)] or [b""]
        queues[number % 2] += [
            Part(f"relay {number % 2}", number, at, at == len(cuts) - 1, cut) for at, cut in enumerate(cuts)
        ]
    sent, parts, joined = 0, Parts(100), list[bytes]()
    whole = set(range(len(messages)))
    for choice in [*order, *[0] * 60]:
        queue = queues[choice % 2] or queues[1 - choice % 2]
        if queue:
            part = queue.pop(0)
            if sent in lost:
                whole.discard(part.message)
            elif (whole_message := parts.take(part)) is not None:
                joined.append(whole_message)
            sent += 1
    assert sorted(joined) == sorted([messages[number] for number in whole])


def test_incomplete_messages_are_bounded() -> None:
    parts = Parts(10)
    assert parts.take(Part("a", 1, 0, False, b"x" * 11)) is None
    assert parts.take(Part("a", 1, 1, True, b"y")) is None
    for sender in range(SENDERS + 1):
        parts.take(Part(str(sender), 1, 0, False, b"x"))
    assert parts.take(Part("0", 1, 1, True, b"y")) is None
    assert parts.take(Part("1", 1, 1, True, b"y")) == b"xy"
