"""Backlogs: a slow client misses nothing but what a later event of the same key says better."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flowcraft.channels import Channels
from flowcraft.core import frames
from flowcraft.core.backlog import Backlog
from flowcraft.core.conflation import Conflation
from flowcraft.core.delivery import Encoder
from flowcraft.core.frames import Bundle
from flowcraft.core.hub import Deliver, Settled, Subscribed
from flowcraft.core.pages import PAGE_BYTES, Pages
from flowcraft.cursors import Cursor, Lineage, Snapshot
from flowcraft.events import Event
from flowcraft.records import Record

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
    return whole(Encoder().encode(Deliver(records, at(last), NOON, (1,)))[0])


def settled(xid: int) -> Bundle:
    return whole(Encoder().encode(Settled(1, xid, at(xid)))[0])


def whole(part: Bundle | Pages) -> Bundle:
    assert isinstance(part, Bundle)
    return part


def told(bundle: Bundle) -> list[object]:
    """Events by id, commit points as (n, xmax), heartbeats with `sent` too, others by their first member."""

    def short(frame: dict[str, Any]) -> object:
        if "id" in frame:
            return frame["id"]
        if "at" in frame:
            xmax = int(frame["cursor"].split("/")[2].split(":")[0])
            return (frame["n"], xmax, frame["sent"]) if "sent" in frame else (frame["n"], xmax)
        return next(iter(frame))

    return [short(json.loads(message)) for message in bundle.messages]


def released(*bundles: Bundle, sent: int = 0) -> list[object]:
    backlog = Backlog(conflation)
    for bundle in bundles:
        backlog.add(bundle)
    return told(backlog.release(sent))


def test_groups_are_merged_with_the_last_position() -> None:
    one, two = progress(1, "run_update"), progress(2, "run_update")
    assert released(group(one), group(two)) == [1, 2, (2, 703)]


def test_a_newer_event_of_the_same_key_replaces_the_older_one_at_its_own_place() -> None:
    records = [progress(1), progress(2, run_id=2), progress(3, "run_update"), progress(4)]
    assert released(*map(group, records)) == [2, 3, 4, (3, 705)]


def test_a_channel_without_a_key_is_its_own_key() -> None:
    records = [progress(1, "runs.1"), progress(2, "runs.2"), progress(3, "runs.1", run_id=9)]
    assert released(*map(group, records)) == [2, 3, (2, 704)]


def test_other_frames_keep_their_place_and_nothing_is_replaced_across_them() -> None:
    assert released(group(progress(1)), settled(701), group(progress(2)), group(progress(3))) == [
        1,
        (1, 702),
        "settled",
        3,
        (1, 704),
    ]


def test_a_heartbeat_moves_the_position_of_the_group_before_it_and_alone_counts_what_really_leaves() -> None:
    assert released(group(progress(1)), group(xid=750), sent=7) == [1, (1, 750)]
    assert released(group(progress(1)), group(progress(2)), settled(702), group(xid=750), sent=7) == [
        2,
        (1, 703),
        "settled",
        (0, 750, 8),
    ]


def test_events_that_are_not_as_declared_are_passed_on_as_they_are() -> None:
    strange = [Record(700 + n, n, "dashboard", payload) for n, payload in enumerate(('{"a":1}', "7", "{}"))]
    assert conflation.key(strange[0]) is None
    assert len(released(*map(group, strange))) == 4


def test_keys_are_told_apart_by_their_value_and_not_by_how_it_is_written() -> None:
    spellings = ('{"run_id":1}', '{ "done": 2, "run_id" : 1 }', '{"run_id":"1"}', '{"run_id":null}')
    keys = [conflation.key(Record(1, 1, "dashboard", payload)) for payload in spellings]
    assert keys[0] == keys[1] == ("dashboard", b"1")
    assert len(set(keys)) == 3


def test_it_counts_the_bytes_that_wait() -> None:
    backlog, first, second = Backlog(conflation), progress(1), progress(2, run_id=1)
    backlog.add(group(first))
    backlog.add(settled(701))
    backlog.add(group(first))
    backlog.add(group(second))
    sizes = [len(frames.event(record)) for record in (first, second)]
    assert backlog.size == sum(sizes) + settled(701).size
    backlog.release(0)
    assert (backlog.size, backlog.release(0).messages) == (0, ())


def replay(*records: Record) -> Pages:
    part, to = Encoder().encode(Subscribed(1, ("dashboard",), records, at(900), 1))
    assert isinstance(part, Pages), "not long enough"
    assert to == (1,)
    return part


def large(n: int, size: int = PAGE_BYTES // 3) -> Record:
    return Record(700 + n, n, "dashboard", json.dumps({"run_id": n, "done": 1, "pad": "x" * size}))


def drain(backlog: Backlog, sent: int = 0) -> list[list[object]]:
    pages: list[list[object]] = []
    while backlog:
        bundle = backlog.release(sent)
        sent += bundle.events
        pages.append(told(bundle))
    return pages


def test_a_replay_of_more_than_a_page_leaves_page_by_page_and_is_one_group() -> None:
    backlog = Backlog(None)
    backlog.add(replay(*map(large, range(1, 8))))
    pages = drain(backlog)
    assert pages == [[1, 2, 3], [4, 5, 6], [7, "subscribed"]]


def test_a_short_replay_is_one_bundle_that_shares_its_events() -> None:
    encoder = Encoder()
    one, other = (
        encoder.encode(Subscribed(n, ("dashboard",), (progress(1),), at(900), None))[0] for n in (1, 2)
    )
    assert isinstance(one, Bundle)
    assert isinstance(other, Bundle)
    assert one.messages[0] is other.messages[0]


def test_what_comes_while_a_replay_is_told_follows_on_it() -> None:
    backlog = Backlog(conflation)
    backlog.add(replay(*map(large, range(1, 5))))
    assert told(backlog.release(0)) == [1, 2, 3]
    for part in (group(progress(8)), group(progress(9)), settled(901), group(xid=950)):
        backlog.add(part)
    assert drain(backlog, 3) == [[4, "subscribed"], [9, (1, 710), "settled", (0, 950, 5)]]


def test_a_cut_leaves_the_first_replay_and_nothing_after_it() -> None:
    backlog = Backlog(conflation)
    backlog.add(settled(701))
    backlog.add(replay(*map(large, range(1, 5))))
    backlog.add(group(progress(8)))
    backlog.add(replay(*map(large, range(10, 15))))
    backlog.cut()
    backlog.cut()
    backlog.add(group(progress(20)))
    assert (backlog.is_cut, backlog.has_replay, backlog.size) == (True, True, settled(701).size)
    assert drain(backlog) == [["settled"], [1, 2, 3], [4, "subscribed"]]


def test_the_bytes_of_a_replay_are_not_counted_and_those_around_it_are() -> None:
    backlog, around = Backlog(None), group(progress(1))
    for part in (around, replay(*map(large, range(2, 8))), around):
        backlog.add(part)
    assert backlog.size == 2 * around.size
    backlog.release(0)
    assert backlog.size == around.size
    drain(backlog)
    assert (backlog.size, bool(backlog), backlog.release(0).messages) == (0, False, ())


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
    backlog, n = Backlog(conflation), 0
    parts: list[list[Record]] = [[]]
    for step in script:
        if isinstance(step, str):
            backlog.add(settled(701))
            parts.append([])
            continue
        records = [progress(n + i, channel, run) for i, (channel, run) in enumerate(step, 1)]
        n += len(records)
        backlog.add(group(*records, xid=701 + n))
        parts[-1] += records
    bundle = backlog.release(0)
    ids = [event for event in told(bundle) if isinstance(event, int)]
    assert ids == [record.id for part in parts for record in latest(part)]
    assert bundle.events == len(ids)


def latest(records: Sequence[Record]) -> Iterator[Record]:
    for i, record in enumerate(records):
        key = conflation.key(record)
        if key is None or key not in [conflation.key(later) for later in records[i + 1 :]]:
            yield record
