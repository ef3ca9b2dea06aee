"""The hub: rules of fan-out, catching up, settling and rewinding."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from flowcraft.adapters.memory import MemoryLog, MemoryTransaction
from flowcraft.core.counts import Counts
from flowcraft.core.hub import Hub
from flowcraft.core.hub_effects import (
    Deliver,
    DeliverEphemeral,
    Effect,
    ReadNow,
    ReadReplay,
    Reset,
    Settled,
    Subscribed,
)
from flowcraft.cursors import Cursor, Lineage, Snapshot
from flowcraft.records import Batch, Ephemeral, Kind, Record, Unreadable
from flowcraft.settings import Settings

LINEAGE = Lineage(1, 1, 0)
AT = datetime(2026, 11, 22, 20, 13, tzinfo=UTC)


def cursor(xmax: int, *running: int) -> Cursor:
    return Cursor(LINEAGE, Snapshot(xmax, frozenset(running)))


def record(number: int, channel: str = "runs.7", xid: int | None = None) -> Record:
    return Record(700 + number if xid is None else xid, number, channel, f'{{"n":{number}}}')


def batch(*records: Record, xmax: int | None = None, running: Iterable[int] = ()) -> Batch:
    top = xmax if xmax is not None else max((r.xid for r in records), default=699) + 1
    return Batch(records, cursor(top, *running), Snapshot(top, frozenset(running)), AT)


def hub_with(*sessions: int, channel: str = "runs.7", counts: Counts | None = None) -> Hub:
    hub = Hub(batch(), counts=counts)
    for session in sessions:
        hub.subscriptions.connect(session)
        hub.subscriptions.subscribe(session, (channel,))
    return hub


def test_a_subscription_without_a_cursor_is_live_from_the_hubs_position() -> None:
    hub = hub_with()
    hub.subscriptions.connect(1)
    assert hub.subscriptions.subscribe(1, ("runs.7",), ref=4) == [
        Subscribed(1, ("runs.7",), (), cursor(700), 4)
    ]
    assert hub.broadcast(batch(record(1))) == [Deliver((record(1),), cursor(702), AT, (1,))]


def test_the_live_subscriptions_of_a_family_are_counted() -> None:
    hub = hub_with(1, 2)
    hub.subscriptions.subscribe(1, ("runs.7", "runs.8", "run_update"))
    hub.subscriptions.subscribe(2, ("runs.7",), since=cursor(700))
    assert (
        hub.subscriptions.live.family_count("runs"),
        hub.subscriptions.live.family_count("run_update"),
        hub.subscriptions.live.family_count("steps"),
    ) == (3, 1, 0)
    hub.subscriptions.unsubscribe(1, ("runs.8", "runs.9"))
    hub.subscriptions.disconnect(2)
    hub.subscriptions.disconnect(2)
    assert (
        hub.subscriptions.live.family_count("runs"),
        hub.subscriptions.live.family_count("run_update"),
    ) == (1, 1)
    hub.restart(batch(xmax=700), "rewound")
    hub.subscriptions.disconnect(1)
    assert (
        hub.subscriptions.live.family_count("runs"),
        hub.subscriptions.live.family_count("run_update"),
    ) == (0, 0)


def test_a_batch_reaches_a_session_as_one_group_however_many_channels_it_touches() -> None:
    hub = hub_with(1)
    hub.subscriptions.subscribe(1, ("run_update",))
    first, second = record(1, xid=701), record(2, "run_update", xid=701)
    assert hub.broadcast(batch(first, second)) == [Deliver((first, second), cursor(702), AT, (1,))]


def test_sessions_that_get_the_same_records_share_one_effect() -> None:
    hub = hub_with(1, 2, 3)
    hub.subscriptions.subscribe(3, ("run_update",))
    first, second = record(1), record(2, "run_update")
    assert hub.broadcast(batch(first, second)) == [
        Deliver((first,), cursor(703), AT, (1, 2)),
        Deliver((first, second), cursor(703), AT, (3,)),
    ]


def test_nobody_is_told_of_a_channel_that_nobody_follows() -> None:
    assert hub_with(1).broadcast(batch(record(1, "runs.8"))) == []


def test_live_records_wait_behind_the_replay_of_a_session_that_is_catching_up() -> None:
    hub = hub_with()
    hub.subscriptions.connect(1)
    (request,) = hub.subscriptions.subscribe(1, ("runs.7",), cursor(690), ref=2)
    assert isinstance(request, ReadReplay)
    assert request.channels == ("runs.*", "runs.7")
    assert hub.broadcast(batch(record(2))) == []
    replay = batch(record(1, xid=695), xmax=701)
    assert hub.subscriptions.replayed(request.replay, replay) == [
        Subscribed(1, ("runs.7",), (record(1, xid=695), record(2)), cursor(703), 2)
    ]
    assert hub.broadcast(batch(record(3))) == [Deliver((record(3),), cursor(704), AT, (1,))]


def test_a_replay_that_is_ahead_of_the_hub_leaves_to_the_live_feed_what_is_the_live_feeds() -> None:
    hub = hub_with()
    hub.subscriptions.connect(1)
    (request,) = hub.subscriptions.subscribe(1, ("runs.7",), cursor(690))
    assert isinstance(request, ReadReplay)
    replay = batch(record(1, xid=695), record(2), record(3))
    hub.broadcast(batch(record(2)))
    assert hub.subscriptions.replayed(request.replay, replay) == [
        Subscribed(1, ("runs.7",), (record(1, xid=695), record(2)), cursor(703), None)
    ]


def test_a_cursor_ahead_of_the_hub_is_not_told_again_what_its_state_holds() -> None:
    hub = hub_with()
    hub.subscriptions.connect(1)
    assert hub.subscriptions.subscribe(1, ("runs.7",), cursor(703, 701), ref=6) == [ReadNow()]
    assert hub.broadcast(batch(record(1), record(2), record(3))) == [
        Subscribed(1, ("runs.7",), (record(1), record(3)), cursor(704), 6)
    ]


def test_a_cursor_that_the_hub_does_not_come_past_is_asked_about_at_the_log() -> None:
    hub = hub_with()
    hub.subscriptions.connect(1)
    assert hub.subscriptions.subscribe(1, ("runs.7",), cursor(709), ref=6) == [ReadNow()]
    assert hub.broadcast(batch(record(1))) == [ReadNow()]
    (request,) = hub.broadcast(batch(record(2)))
    assert isinstance(request, ReadReplay)
    assert hub.subscriptions.replay_failed(request.replay, "rewound") == [
        Reset(1, ("runs.7",), "rewound", cursor(703), 6)
    ]


def test_a_read_of_the_log_that_is_ahead_of_the_hub_waits_for_it() -> None:
    hub = hub_with()
    hub.subscriptions.connect(1)
    hub.subscriptions.subscribe(1, ("runs.7",), cursor(703, 701), ref=6)
    hub.broadcast(batch(xmax=700))
    (request,) = hub.broadcast(batch(xmax=700))
    assert isinstance(request, ReadReplay)
    assert hub.subscriptions.replayed(request.replay, batch(xmax=703, running=(701,))) == [ReadNow()]
    assert hub.broadcast(batch(record(1), record(2), record(3))) == [
        Subscribed(1, ("runs.7",), (record(1), record(3)), cursor(704), 6)
    ]


def test_who_comes_back_soon_is_answered_from_memory() -> None:
    counts = Counts()
    hub = hub_with(1, counts=counts)
    hub.broadcast(batch(record(1), record(2, "runs.8")))
    hub.broadcast(batch(record(3)))
    hub.subscriptions.connect(2)
    assert hub.subscriptions.subscribe(2, ("runs.7", "runs.8"), cursor(702, 701), ref=4) == [
        Subscribed(2, ("runs.7", "runs.8"), (record(1), record(2, "runs.8"), record(3)), cursor(704), 4)
    ]
    assert counts.replays_from_memory == 1


def test_a_second_reader_catches_up_while_the_first_stays_live() -> None:
    hub = hub_with(1)
    (request,) = hub.subscriptions.subscribe(1, ("runs.7",), cursor(690), ref=9)
    assert isinstance(request, ReadReplay)
    assert hub.broadcast(batch(record(1))) == [Deliver((record(1),), cursor(702), AT, (1,))]
    assert hub.subscriptions.replayed(request.replay, batch(record(1))) == [
        Subscribed(1, ("runs.7",), (record(1),), cursor(702), 9)
    ]
    assert hub.subscriber_count("runs.7") == 1


def test_an_unsubscribe_during_a_catch_up_is_answered_without_the_channel() -> None:
    hub = hub_with()
    hub.subscriptions.connect(1)
    (request,) = hub.subscriptions.subscribe(1, ("runs.7", "runs.8"), cursor(690), ref=1)
    assert isinstance(request, ReadReplay)
    hub.subscriptions.unsubscribe(1, ("runs.7",))
    assert hub.subscriptions.replayed(request.replay, batch(record(1), record(2, "runs.8"))) == [
        Subscribed(1, ("runs.8",), (), cursor(700), 1)
    ]
    assert hub.broadcast(batch(record(3))) == []


def test_a_session_that_leaves_is_forgotten_with_its_catch_ups_and_questions() -> None:
    hub = hub_with(1)
    (request,) = hub.subscriptions.subscribe(1, ("runs.7",), cursor(690))
    assert isinstance(request, ReadReplay)
    hub.subscriptions.settle(1, 990)
    hub.subscriptions.disconnect(1)
    assert hub.subscriptions.replayed(request.replay, batch()) == []
    assert hub.broadcast(batch(record(300))) == []
    assert (len(hub.subscriptions.live.channels), hub.heartbeat()) == (0, [])


def test_what_cannot_be_bridged_is_reset_and_live_from_the_hubs_position() -> None:
    hub = hub_with()
    hub.subscriptions.connect(1)
    (request,) = hub.subscriptions.subscribe(1, ("runs.7",), cursor(5), ref=3)
    assert isinstance(request, ReadReplay)
    assert hub.subscriptions.replay_failed(request.replay, "expired") == [
        Reset(1, ("runs.7",), "expired", cursor(700), 3)
    ]
    assert hub.broadcast(batch(record(1))) == [Deliver((record(1),), cursor(702), AT, (1,))]


def test_a_new_beginning_tells_every_live_reader_and_every_one_that_is_catching_up() -> None:
    hub = hub_with(1)
    hub.subscriptions.connect(2)
    (request,) = hub.subscriptions.subscribe(1, ("runs.7",), cursor(690), ref=5)
    assert isinstance(request, ReadReplay)
    assert hub.restart(batch(xmax=650), "rewound") == [
        Reset(1, ("runs.7",), "rewound", cursor(650), None),
        Reset(1, ("runs.7",), "rewound", cursor(650), 5),
    ]
    assert hub.subscriptions.replayed(request.replay, batch(record(1))) == []


def skipped(number: int, channel: str, reason: str = "unreadable", xid: int | None = None) -> Record:
    xid = 700 + number if xid is None else xid
    return Record(xid, number, channel, f'{{"reason":"{reason}"}}', kind=Kind.SKIPPED)


def reset(number: int, channel: str, reason: str = "truncated") -> Record:
    return Record(700 + number, number, channel, f'{{"reason":"{reason}"}}', kind=Kind.RESET)


def test_what_cannot_be_read_is_skipped_for_its_subscribers_live_and_in_a_replay() -> None:
    hub = hub_with(1, 2)
    hub.subscriptions.subscribe(1, ("runs.8",))
    hub.subscriptions.connect(3)
    (request,) = hub.subscriptions.subscribe(3, ("runs.7", "runs.8"), cursor(690), ref=4)
    assert isinstance(request, ReadReplay)
    bad, good = Unreadable(701, 1, "runs.8", "planted"), record(2, xid=701)
    assert hub.broadcast(replace(batch(good), unreadable=(bad,))) == [
        Deliver((skipped(1, "runs.8"), good), cursor(702), AT, (1,)),
        Deliver((good,), cursor(702), AT, (2,)),
    ]
    assert hub.subscriptions.replayed(request.replay, batch(xmax=700)) == [
        Subscribed(3, ("runs.7", "runs.8"), (skipped(1, "runs.8"), good), cursor(702), 4)
    ]
    assert hub.broadcast(batch(record(3, "runs.8"))) == [
        Deliver((record(3, "runs.8"),), cursor(704), AT, (1, 3))
    ]


def test_a_resume_across_what_cannot_be_read_has_it_skipped_from_memory_and_from_the_log() -> None:
    hub = hub_with()
    hub.subscriptions.connect(1)
    bad = Unreadable(701, 1, "runs.8", "planted")
    hub.broadcast(replace(batch(record(2, xid=701)), unreadable=(bad,)))
    expected = Subscribed(1, ("runs.8",), (skipped(1, "runs.8"),), cursor(702), 2)
    assert hub.subscriptions.subscribe(1, ("runs.8",), cursor(700), ref=2) == [expected]
    (request,) = hub.subscriptions.subscribe(1, ("runs.8",), cursor(690), ref=2)
    assert isinstance(request, ReadReplay)
    assert hub.subscriptions.replayed(request.replay, replace(batch(xmax=702), unreadable=(bad,))) == [
        expected
    ]


def test_a_reset_in_the_log_comes_before_the_group_of_the_other_channels_and_drops_its_own_records() -> None:
    hub = hub_with(1, 2)
    hub.subscriptions.subscribe(2, ("system",))
    records = (record(1), record(2, "system"), reset(3, "runs.7"), record(4), record(5, "runs.9"))
    assert hub.broadcast(batch(*records)) == [
        Reset(1, ("runs.7",), "truncated", cursor(706), None),
        Reset(2, ("runs.7",), "truncated", cursor(700), None),
        Deliver((record(2, "system"),), cursor(706), AT, (2,)),
    ]
    assert hub.broadcast(batch(record(6))) == [Deliver((record(6),), cursor(707), AT, (1, 2))]


def test_a_reset_of_a_family_reaches_all_its_channels_once_per_reason_and_no_other() -> None:
    hub = hub_with(1)
    hub.subscriptions.subscribe(1, ("runs.8", "runs2.7", "run_update"))
    hub.subscriptions.connect(2)
    hub.subscriptions.subscribe(2, ("runs2.7",))
    assert hub.broadcast(batch(reset(1, "runs.*"), reset(2, "runs.8", "redeclared"))) == [
        Reset(1, ("runs.7",), "truncated", cursor(700), None),
        Reset(1, ("runs.8",), "redeclared", cursor(703), None),
    ]
    hub.subscriptions.unsubscribe(1, ("runs.8",))
    assert hub.broadcast(batch(reset(3, "runs.*", "of a later version"))) == [
        Reset(1, ("runs.7",), "unreadable", cursor(704), None)
    ]
    hub.subscriptions.disconnect(1)
    assert hub.broadcast(batch(reset(4, "runs.*"), reset(5, "*"))) == []


def test_a_replay_across_a_reset_has_two_answers() -> None:
    hub = hub_with()
    hub.subscriptions.connect(1)
    hub.broadcast(batch(record(1), record(2, "system"), reset(3, "runs.*"), record(4)))

    def two_answers(since: Cursor) -> list[Effect]:
        return [
            Reset(1, ("runs.7", "runs.8"), "truncated", since, 9),
            Subscribed(1, ("system",), (record(2, "system"),), cursor(705), 9),
        ]

    assert hub.subscriptions.subscribe(1, ("runs.7", "runs.8", "system"), cursor(700), ref=9) == two_answers(
        cursor(700)
    )
    (request,) = hub.subscriptions.subscribe(1, ("runs.7", "runs.8", "system"), cursor(690), ref=9)
    assert isinstance(request, ReadReplay)
    assert request.channels == ("runs.*", "runs.7", "runs.8", "system")
    found = batch(record(1), record(2, "system"), reset(3, "runs.*"), record(4))
    assert hub.subscriptions.replayed(request.replay, found) == two_answers(cursor(690))
    assert hub.broadcast(batch(record(5))) == [Deliver((record(5),), cursor(706), AT, (1,))]


def test_a_reset_that_is_broadcast_during_a_replay_ends_it_with_a_reset() -> None:
    hub = hub_with()
    hub.subscriptions.connect(1)
    (request,) = hub.subscriptions.subscribe(1, ("runs.7", "runs.8"), cursor(690), ref=9)
    assert isinstance(request, ReadReplay)
    hub.subscriptions.unsubscribe(1, ("runs.8",))
    assert hub.broadcast(batch(record(1), reset(2, "runs.*"))) == []
    assert hub.subscriptions.replayed(request.replay, batch(xmax=700)) == [
        Reset(1, ("runs.7",), "truncated", cursor(703), 9)
    ]


def test_a_replay_of_which_all_channels_of_a_family_end_gets_no_record_of_the_family() -> None:
    hub = hub_with()
    hub.subscriptions.connect(1)
    (request,) = hub.subscriptions.subscribe(1, ("runs.7", "system"), cursor(690), ref=9)
    assert isinstance(request, ReadReplay)
    hub.subscriptions.unsubscribe(1, ("runs.7",))
    hub.broadcast(batch(reset(1, "runs.*"), skipped(2, "runs.*")))
    assert hub.subscriptions.replayed(request.replay, batch(xmax=700)) == [
        Subscribed(1, ("system",), (), cursor(703), 9)
    ]


def test_an_event_skipped_for_a_family_is_sent_once_per_batch_and_reason_on_each_of_its_channels() -> None:
    hub = hub_with(1, 2)
    hub.subscriptions.subscribe(2, ("runs.8", "system"))
    records = (skipped(1, "runs.*", "a"), skipped(2, "runs.*", "a"), record(3), skipped(4, "runs.*", "b"))
    seven = (skipped(2, "runs.7", "a"), record(3), skipped(4, "runs.7", "b"))
    eight = (skipped(2, "runs.8", "a"), skipped(4, "runs.8", "b"))
    assert hub.broadcast(batch(*records)) == [
        Deliver(seven, cursor(705), AT, (1,)),
        Deliver(
            (seven[0], eight[0], *seven[1:], eight[1]),
            *(cursor(705), AT, (2,)),
        ),
    ]


def test_a_withdrawal_is_sent_to_no_client() -> None:
    hub = hub_with(1)
    withdrawal = Record(701, 1, "*", "{}", kind=Kind.WITHDRAWAL)
    assert hub.broadcast(batch(withdrawal, record(2))) == [Deliver((record(2),), cursor(703), AT, (1,))]


def test_a_row_that_is_gone_is_delivered_in_its_place() -> None:
    hub = hub_with(1)
    gone = Record(701, 1, "runs.7", '{"id":3}', kind=Kind.GONE)
    assert hub.broadcast(batch(gone, record(2))) == [Deliver((gone, record(2)), cursor(703), AT, (1,))]
    hub.subscriptions.connect(2)
    assert hub.subscriptions.subscribe(2, ("runs.7",), cursor(700), ref=1) == [
        Subscribed(2, ("runs.7",), (gone, record(2)), cursor(703), 1)
    ]


def test_a_transaction_settles_after_its_events_and_at_once_if_it_is_covered() -> None:
    hub = hub_with(1)
    assert hub.subscriptions.settle(1, 699) == [Settled(1, 699, cursor(700))]
    assert hub.subscriptions.settle(1, 701) == [ReadNow()]
    assert hub.broadcast(batch(record(1))) == [
        Deliver((record(1),), cursor(702), AT, (1,)),
        Settled(1, 701, cursor(702)),
    ]


def test_a_transaction_without_events_settles_when_the_plain_snapshot_covers_it() -> None:
    hub = hub_with(1)
    hub.subscriptions.settle(1, 750)
    nothing = Batch((), cursor(700), Snapshot(751), AT)
    assert hub.broadcast(nothing) == [Settled(1, 750, cursor(700))]


def test_a_running_transaction_does_not_settle() -> None:
    hub = hub_with(1)
    hub.subscriptions.settle(1, 705)
    assert hub.broadcast(batch(record(9), running=(705,))) == [
        Deliver((record(9),), cursor(710, 705), AT, (1,))
    ]


def test_a_heartbeat_reaches_sessions_without_subscriptions_too() -> None:
    hub = hub_with(1)
    hub.subscriptions.connect(2)
    assert hub.heartbeat() == [Deliver((), cursor(700), AT, (1, 2))]


def test_an_ephemeral_event_reaches_whoever_is_live() -> None:
    hub = hub_with(1, 2)
    typing = Ephemeral("runs.7", "{}")
    assert hub.broadcast_ephemeral(typing) == [DeliverEphemeral(typing, (1, 2))]
    assert hub.broadcast_ephemeral(Ephemeral("runs.8", "{}")) == []


class HubFollowsLog(RuleBasedStateMachine):
    """Whatever commits, lags and interleaves: each reader gets each record after its cursor once."""

    transactions = Bundle("transactions")
    replays = Bundle("replays")
    cursors = Bundle("cursors")

    def __init__(self) -> None:
        super().__init__()
        self.log = MemoryLog()
        self.hub = Hub(self.log.position_now(), Settings(recent_events=3))
        self.readers: dict[int, list[int]] = {}
        self.expected_from: dict[int, Cursor] = {}
        self.asked: dict[int, ReadReplay] = {}
        self.live: set[int] = set()
        self.committed: list[Record] = []

    @rule(target=cursors)
    def look(self) -> Cursor:
        return self.log.position_now().cursor

    @rule(
        target=transactions, channels=st.lists(st.sampled_from(["runs.7", "runs.8"]), min_size=1, max_size=3)
    )
    def begin(self, channels: list[str]) -> tuple[MemoryTransaction, list[str]]:
        transaction = self.log.begin()
        for channel in channels:
            transaction.broadcast(channel, "{}")
        return transaction, channels

    @rule(transaction=consumes(transactions), commit=st.booleans())
    def end(self, transaction: tuple[MemoryTransaction, list[str]], commit: bool) -> None:
        before = self.log.position_now().cursor
        if not commit:
            transaction[0].rollback()
            return
        transaction[0].commit()
        self.committed += self.log.tail_now(before).records

    @rule()
    def relay_reads(self) -> None:
        self.apply(self.hub.broadcast(self.log.tail_now(self.hub.cursor)))

    @rule(target=replays, since=cursors)
    def subscribe(self, since: Cursor) -> int:
        reader = len(self.readers) + 1
        self.readers[reader] = []
        self.expected_from[reader] = since
        self.hub.subscriptions.connect(reader)
        self.apply(self.hub.subscriptions.subscribe(reader, ("runs.7",), since, ref=reader))
        return reader

    @rule(reader=consumes(replays), read_first=st.booleans())
    def replay(self, reader: int, read_first: bool) -> None:
        request = self.asked.pop(reader, None)
        if request is None:  # it was live at once
            return
        replay = self.log.replay_now(request.replay.since, request.channels)
        if read_first:  # the hub moves on between the read and its answer
            self.relay_reads()
        self.apply(self.hub.subscriptions.replayed(request.replay, replay))

    def apply(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case ReadReplay(replay):
                    self.asked[replay.session] = effect
                case Subscribed(session, _, records, _, _):
                    self.live.add(session)
                    self.readers[session] += [r.id for r in records]
                case ReadNow():
                    pass  # the relay reads when the script says so
                case Deliver(records, _, _, to):
                    for session in to:
                        self.readers[session] += [r.id for r in records]
                case _:
                    raise AssertionError(effect)

    @invariant()
    def every_reader_has_what_lies_between_its_cursor_and_the_hubs(self) -> None:
        for reader, received in self.readers.items():
            if reader not in self.live:
                assert received == []
                continue
            since, now = self.expected_from[reader], self.hub.cursor
            due = [
                r.id
                for r in self.committed
                if r.channel == "runs.7" and now.covers(r.xid) and not since.covers(r.xid)
            ]
            assert sorted(received) == sorted(due)
            assert len(set(received)) == len(received)


TestHubFollowsLog = HubFollowsLog.TestCase


@given(st.integers(0, 40), st.integers(0, 40))
def test_a_replay_is_the_same_wherever_the_hub_and_the_read_stand(read_at: int, hub_at: int) -> None:
    log = MemoryLog()
    for _ in range(40):
        log.broadcast("runs.7", "{}")
    everything = log.tail_now(cursor(700)).records
    hub = hub_with()
    hub.subscriptions.connect(1)
    (request,) = hub.subscriptions.subscribe(1, ("runs.7",), cursor(690))
    assert isinstance(request, ReadReplay)
    if hub_at:
        hub.broadcast(batch(*everything[:hub_at]))
    answer = hub.subscriptions.replayed(request.replay, batch(*everything[:read_at]))
    assert answer == [Subscribed(1, ("runs.7",), everything[:hub_at], hub.cursor, None)]
