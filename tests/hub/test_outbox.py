"""Outbox: a slow client misses nothing but what a later event of the same key replaces."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flowcraft.channels import Channels
from flowcraft.core import answers, bundles
from flowcraft.core.answers import PAGE_BYTES, Pages
from flowcraft.core.bundles import Bundle, Encoder
from flowcraft.core.conflation import Conflation
from flowcraft.core.hub_effects import Deliver, Settled, Subscribed
from flowcraft.core.outbox import Outbox
from flowcraft.cursors import Cursor, Lineage, Snapshot
from flowcraft.events import Event
from flowcraft.records import Kind, Record

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Progress(Event):
    """How far a run is."""

    run_id: int
    done: int


channels = Channels()
channels.declare("dashboard", Progress, conflate="run_id")
channels.declare("runs.{run}", Progress, params={"run": int}, conflate=True)
channels.declare("run_update", Progress)
conflation = Conflation(channels)


def at(xid: int) -> Cursor:
    return Cursor(Lineage(1, 1, 0), Snapshot(xid, frozenset()))


def progress(n: int, channel: str = "dashboard", run_id: int = 1) -> Record:
    return Record(700 + n, n, channel, json.dumps({"type": "Progress", "run_id": run_id, "done": n}))


def group(*records: Record, xid: int = 0) -> Bundle:
    last = xid or records[-1].xid + 1
    return whole(answers.encode(Deliver(records, at(last), NOON, (1,)), Encoder())[0])


def settled(xid: int) -> Bundle:
    return whole(answers.encode(Settled(1, xid, at(xid)), Encoder())[0])


def whole(part: Bundle | Pages) -> Bundle:
    assert isinstance(part, Bundle)
    return part


def content(bundle: Bundle) -> list[object]:
    """Events by id, commit points as (n, xmax), heartbeats with `sent` too, others by their first member."""

    def short(frame: dict[str, Any]) -> object:
        if "id" in frame:
            return frame["id"]
        if "at" in frame:
            xmax = int(frame["cursor"].split("/")[2].split(":")[0])
            return (frame["n"], xmax, frame["sent"]) if "sent" in frame else (frame["n"], xmax)
        return next(iter(frame))

    return [short(json.loads(message)) for message in bundle.messages]


def outbox(
    *parts: Bundle | Pages, keys: Conflation | None = conflation, limit: int = 10**9, sent: int = 0
) -> Outbox:
    made = Outbox(limit, keys, events=sent, now=0.0)
    for part in parts:
        assert made.put(part, 0.0)
    return made


def taken(*bundles: Bundle, sent: int = 0) -> list[object]:
    return content(outbox(*bundles, sent=sent).take(0.0))


def test_groups_are_merged_with_the_last_position() -> None:
    one, two = progress(1, "run_update"), progress(2, "run_update")
    assert taken(group(one), group(two)) == [1, 2, (2, 703)]


def test_a_newer_event_of_the_same_key_replaces_the_older_one_at_its_own_place() -> None:
    records = [progress(1), progress(2, run_id=2), progress(3, "run_update"), progress(4)]
    assert taken(*map(group, records)) == [2, 3, 4, (3, 705)]


def gone(n: int, channel: str = "dashboard", run_id: int = 1) -> Record:
    return Record(700 + n, n, channel, json.dumps({"run_id": run_id}), kind=Kind.GONE)


def skipped(n: int, channel: str = "dashboard") -> Record:
    return Record(700 + n, n, channel, '{"reason":"payload_invalid"}', kind=Kind.SKIPPED)


def test_a_row_that_is_gone_replaces_its_events_and_an_event_after_it_replaces_it() -> None:
    records = [progress(1), gone(2), gone(3, run_id=2), progress(4, run_id=2)]
    assert taken(*map(group, records)) == [2, 4, (2, 705)]
    assert taken(*map(group, [progress(1, "runs.1"), gone(2, "runs.1")])) == [2, (1, 703)]


def test_a_key_without_the_field_of_the_conflation_replaces_nothing() -> None:
    other = Record(702, 2, "dashboard", '{"id":1}', kind=Kind.GONE)
    assert taken(*map(group, [progress(1), other, progress(3)])) == [2, 3, (2, 704)]


def test_a_skipped_event_is_neither_replaced_nor_replaces() -> None:
    records = [progress(1, "runs.1"), skipped(2, "runs.1"), skipped(3, "runs.1"), progress(4, "runs.1")]
    assert taken(*map(group, records)) == [2, 3, 4, (3, 705)]


def test_one_event_skipped_for_two_channels_waits_on_both() -> None:
    assert taken(group(skipped(1, "runs.1"), skipped(1, "runs.2"))) == [1, 1, (2, 702)]


def test_a_channel_without_a_key_is_its_own_key() -> None:
    records = [progress(1, "runs.1"), progress(2, "runs.2"), progress(3, "runs.1", run_id=9)]
    assert taken(*map(group, records)) == [2, 3, (2, 704)]


def test_other_frames_keep_their_place_and_nothing_is_replaced_across_them() -> None:
    assert taken(group(progress(1)), settled(701), group(progress(2)), group(progress(3))) == [
        1,
        (1, 702),
        "settled",
        3,
        (1, 704),
    ]


def test_a_heartbeat_moves_the_position_of_the_group_before_it_and_alone_counts_what_really_leaves() -> None:
    assert taken(group(progress(1)), group(xid=750), sent=7) == [1, (1, 750)]
    assert taken(group(progress(1)), group(progress(2)), settled(702), group(xid=750), sent=7) == [
        2,
        (1, 703),
        "settled",
        (0, 750, 8),
    ]


def test_events_that_are_not_as_declared_are_passed_on_as_they_are() -> None:
    strange = [Record(700 + n, n, "dashboard", payload) for n, payload in enumerate(('{"a":1}', "7", "{}"))]
    assert conflation.key(strange[0]) is None
    assert len(taken(*map(group, strange))) == 4


def test_keys_are_told_apart_by_their_value_and_not_by_how_it_is_written() -> None:
    spellings = ('{"run_id":1}', '{ "done": 2, "run_id" : 1 }', '{"run_id":"1"}', '{"run_id":null}')
    keys = [conflation.key(Record(1, 1, "dashboard", payload)) for payload in spellings]
    assert keys[0] == keys[1] == ("dashboard", b"1")
    assert len(set(keys)) == 3


def test_it_counts_the_bytes_that_wait() -> None:
    first, second = progress(1), progress(2, run_id=1)
    waiting = outbox(group(first), settled(701), group(first), group(second))
    sizes = [len(bundles.event(record)) for record in (first, second)]
    assert waiting.size == sum(sizes) + settled(701).size
    waiting.take(0.0)
    assert (waiting.size, waiting.take(0.0).messages) == (0, ())


def replay(*records: Record) -> Pages:
    part, to = answers.encode(Subscribed(1, ("dashboard",), records, at(900), 1), Encoder())
    assert isinstance(part, Pages), "not long enough"
    assert to == (1,)
    return part


def large(n: int, size: int = PAGE_BYTES // 3) -> Record:
    return Record(700 + n, n, "dashboard", json.dumps({"run_id": n, "done": 1, "pad": "x" * size}))


def drain(waiting: Outbox) -> list[list[object]]:
    chunks: list[list[object]] = []
    while waiting:
        chunks.append(content(waiting.take(0.0)))
    return chunks


def test_a_replay_of_more_than_a_page_is_taken_page_by_page_and_is_one_batch() -> None:
    waiting = outbox(replay(*map(large, range(1, 8))), keys=None)
    assert drain(waiting) == [[1, 2, 3], [4, 5, 6], [7, "subscribed"]]


def test_a_short_replay_is_one_bundle_that_shares_its_events() -> None:
    encoder = Encoder()
    one, other = (
        answers.encode(Subscribed(n, ("dashboard",), (progress(1),), at(900), None), encoder)[0]
        for n in (1, 2)
    )
    assert isinstance(one, Bundle)
    assert isinstance(other, Bundle)
    assert one.messages[0] is other.messages[0]


def test_what_comes_during_a_replay_follows_it() -> None:
    waiting = outbox(replay(*map(large, range(1, 5))))
    assert content(waiting.take(0.0)) == [1, 2, 3]
    for part in (group(progress(8)), group(progress(9)), settled(901), group(xid=950)):
        assert waiting.put(part, 0.0)
    assert drain(waiting) == [[4, "subscribed"], [9, (1, 710), "settled", (0, 950, 5)]]
    assert waiting.events == 5


def test_a_chunk_is_about_a_page_and_never_splits_a_message() -> None:
    batches = [group(large(n), xid=800) for n in range(1, 8)]
    assert drain(outbox(*batches, keys=None)) == [
        [1, (1, 800), 2, (1, 800), 3, (1, 800)],
        [4, (1, 800), 5, (1, 800), 6, (1, 800)],
        [7, (1, 800)],
    ]


def test_it_is_full_once_more_than_its_bound_waits_and_one_batch_may_be_larger_than_that() -> None:
    batch = group(large(1), xid=800)
    waiting = outbox(batch, keys=None, limit=batch.size - 1)
    assert not waiting.put(settled(701), 0.0)
    waiting.take(0.0)
    assert waiting.put(settled(701), 0.0), "what the connection has taken does not count"
    exactly = outbox(batch, keys=None, limit=batch.size)
    assert exactly.put(settled(701), 0.0)
    assert not exactly.put(settled(701), 0.0)


def test_a_replay_makes_room_for_itself_by_dropping_what_follows_it_and_then_the_outbox_has_ended() -> None:
    behind = group(progress(8))
    waiting = outbox(settled(701), replay(*map(large, range(1, 5))), behind, limit=settled(701).size)
    assert waiting.put(replay(*map(large, range(10, 15))), 0.0)
    assert waiting.put(group(progress(20)), 0.0)
    assert (waiting.size, waiting.has_ended) == (settled(701).size, False)
    assert drain(waiting) == [["settled"], [1, 2, 3], [4, "subscribed"]]
    assert waiting.has_ended


def test_the_bytes_of_a_replay_are_not_counted_and_those_around_it_are() -> None:
    around = group(progress(1))
    waiting = outbox(around, replay(*map(large, range(2, 8))), around, keys=None)
    assert waiting.size == 2 * around.size
    waiting.take(0.0)
    assert waiting.size == around.size
    drain(waiting)
    assert (waiting.size, bool(waiting), waiting.take(0.0).messages) == (0, False, ())


def test_before_a_close_all_may_be_sent_that_waits_before_a_replay() -> None:
    events = group(progress(1), progress(2, run_id=2))
    waiting = outbox(events, settled(701), replay(*map(large, range(3, 9))), settled(702), keys=None)
    assert content(Bundle(waiting.take_rest())) == [1, 2, (2, 703), "settled"]
    assert (bool(waiting), waiting.size, waiting.take_rest()) == (False, 0, ())


def test_what_the_connection_could_not_send_is_overdue_after_the_limit() -> None:
    waiting = Outbox(10**9, None, events=0, now=10.0)
    assert [waiting.is_overdue(now, 3.0) for now in (10.0, 12.9, 13.0)] == [False, False, True]


def test_a_batch_waits_since_it_was_put_and_not_since_it_was_taken() -> None:
    waiting = Outbox(10**9, None, events=0, now=10.0)
    waiting.put(group(progress(1)), 11.0)
    waiting.put(group(progress(2)), 12.5)
    waiting.take(13.5)
    assert [waiting.is_overdue(now, 3.0) for now in (13.5, 13.9, 14.0)] == [False, False, True]


def test_pages_of_a_replay_and_what_waited_behind_it_wait_only_since_it_was_their_turn() -> None:
    waiting = Outbox(10**9, None, events=0, now=0.0)
    waiting.put(replay(*map(large, range(1, 6))), 0.0)
    waiting.put(group(progress(9)), 0.0)
    for now in (100.0, 200.0):
        waiting.take(now)
        assert [waiting.is_overdue(now + later, 3.0) for later in (2.9, 3.0)] == [False, True]
    waiting.take(300.0)  # the batch waits since the last page was taken
    assert waiting.is_overdue(300.0, 3.0)
    assert not waiting.is_overdue(300.0, 100.5)


def test_a_conflated_batch_waits_only_since_it_was_taken() -> None:
    waiting = Outbox(10**9, conflation, events=0, now=0.0)
    for n in range(1, 100):
        waiting.put(group(progress(n)), float(n))
    waiting.take(100.0)
    assert [waiting.is_overdue(now, 3.0) for now in (102.9, 103.0)] == [False, True]


steps = st.lists(
    st.one_of(
        st.just("settled"),
        st.lists(
            st.tuples(st.sampled_from(["dashboard", "runs.1", "run_update"]), st.integers(1, 3)), max_size=4
        ),
    ),
    max_size=12,
)


@given(steps)
def test_whatever_waits_ends_with_the_latest_of_every_key_and_all_of_the_rest(
    script: Sequence[str | list[tuple[str, int]]],
) -> None:
    waiting, n = outbox(), 0
    parts: list[list[Record]] = [[]]
    for step in script:
        if isinstance(step, str):
            assert waiting.put(settled(701), 0.0)
            parts.append([])
            continue
        records = [progress(n + i, channel, run) for i, (channel, run) in enumerate(step, 1)]
        n += len(records)
        assert waiting.put(group(*records, xid=701 + n), 0.0)
        parts[-1] += records
    bundle = waiting.take(0.0)
    ids = [event for event in content(bundle) if isinstance(event, int)]
    assert ids == [record.id for part in parts for record in latest(part)]
    assert bundle.events == len(ids)


def latest(records: Sequence[Record]) -> Iterator[Record]:
    for i, record in enumerate(records):
        key = conflation.key(record)
        if key is None or key not in [conflation.key(later) for later in records[i + 1 :]]:
            yield record
