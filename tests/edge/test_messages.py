"""The messages between relays and edges: nothing of a batch is lost on the way, and all else is refused."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcraft.adapters.nats.messages import (
    PART_BYTES,
    PAYLOAD_BYTES,
    Answer,
    Ask,
    AskError,
    Beat,
    CursorMember,
    MessageInvalid,
    RowsMember,
    Subjects,
    Wake,
    cut,
    decode,
    decode_link,
    decode_part,
    encode,
    encode_link,
)
from flowcraft.core.chain import Link
from flowcraft.core.parts import Parts
from flowcraft.cursors import Cursor, Lineage, Snapshot
from flowcraft.records import Batch, Kind, Record, TableRows, Unreadable
from flowcraft.xids import LARGEST_XID

xids = st.integers(1, LARGEST_XID)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
times = st.datetimes(timezones=st.just(UTC))
snapshots = st.builds(Snapshot, xids, st.frozensets(xids, max_size=4))
lineages = st.builds(
    Lineage,
    st.integers(0, 2**63 - 1),
    st.integers(1, 2**31 - 1),
    st.integers(0, 2**31),
    st.integers(0, 2**32 - 1),
)
cursors = st.builds(
    Cursor, lineages, snapshots, st.frozensets(st.tuples(xids, st.integers(1, 2**40)), max_size=3)
)
records = st.builds(Record, xids, xids, texts, texts, st.none() | texts, st.sampled_from(list(Kind)))
batches = st.builds(
    Batch,
    st.lists(records, max_size=3).map(tuple),
    cursors,
    snapshots,
    times,
    st.none() | times,
    st.lists(st.builds(Unreadable, xids, xids, texts, texts), max_size=2).map(tuple),
    st.dictionaries(xids, xids, max_size=3),
)
links = st.builds(Link, cursors, batches)
AT = datetime(2026, 11, 22, 20, 13, tzinfo=UTC)
LINEAGE = Lineage(7301, 1, 0, 16384)
EMPTY = Link(Cursor(LINEAGE, Snapshot(752)), Batch((), Cursor(LINEAGE, Snapshot(752)), Snapshot(760), AT))


@given(links)
def test_a_link_arrives_as_it_was_sent(link: Link) -> None:
    parts = Parts(10**9)
    joined = [parts.take(decode_part(data)) for data in cut(encode_link(link), "a", 1)]
    assert [decode_link(content) for content in joined if content is not None] == [link]


@given(links)
def test_a_beat_arrives_as_it_was_sent(link: Link) -> None:
    beat = Beat.of("a", link, [("edge", 7)])
    again = decode(encode(beat), Beat)
    assert (again.link, again.echo) == (link, (("edge", 7),))


@given(cursors, st.lists(texts, max_size=3), st.integers(0, 9))
def test_rows_arrive_as_they_were_sent(cursor: Cursor, rows: list[str], skipped: int) -> None:
    found = TableRows(cursor, tuple(rows), skipped)
    answer = Answer(relay="a", lineage=(1, 0), rows=RowsMember.of(found))
    decoded = decode(encode(answer), Answer)
    assert decoded.rows is not None
    assert decoded.rows.table_rows == found


@given(cursors)
def test_a_question_has_the_whole_cursor(cursor: Cursor) -> None:
    ask = Ask(ask="replay", after=CursorMember.of(cursor), channels=("runs.7",), events=5)
    assert decode(encode(ask), Ask).cursor == cursor


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES])
def test_a_part_fits_into_a_message_of_nats(size: int) -> None:
    parts, content = Parts(10**9), b"x" * size
    cuts = list(cut(content, "a" * 32, 2**63))
    assert len(cuts) == max(1, -(-size // PART_BYTES))
    assert max(map(len, cuts)) < PAYLOAD_BYTES
    assert [parts.take(decode_part(data)) for data in cuts] == [None] * (len(cuts) - 1) + [content]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"{}\n{}",
        b"null",
        b"\xff\xfe",
        b'{"v":1,"relay":"a","message":1,"part":0,"last":true}',
        b'{"v":2,"relay":"a","message":1,"part":0,"last":true}\n{}',
        b'{"v":1,"relay":1,"message":1,"part":0,"last":true}\n{}',
    ],
)
def test_what_is_no_part_is_refused(data: bytes) -> None:
    with pytest.raises(MessageInvalid):
        decode_part(data)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"after":{},"batch":{}}', b"\xff"])
def test_what_is_no_link_is_refused(data: bytes) -> None:
    with pytest.raises(MessageInvalid):
        decode_link(data)


@pytest.mark.parametrize(
    "made",
    [
        Beat.of("a", EMPTY, ()),
        Wake(edge="e", nonce=1),
        Ask(ask="position"),
        Answer(relay="a", lineage=(1, 0), error=AskError("unavailable")),
    ],
    ids=lambda made: type(made).__name__,
)
def test_a_message_of_another_version_is_refused(made: msgspec.Struct) -> None:
    kind = type(made)
    assert decode(encode(made), kind) == made
    for wrong in (encode(msgspec.structs.replace(made, v=2)), b"{}", b'{"v":1}', b"7"):
        with pytest.raises(MessageInvalid):
            decode(wrong, kind)


def test_the_subjects_of_a_database_name_its_system_and_its_oid() -> None:
    subjects = Subjects.of(LINEAGE)
    assert subjects.live == "flowcraft.7301.16384.live"
    assert Subjects.parse(subjects.beat) == Subjects.parse("7301.16384") == subjects
    for wrong in ("", "7301", "a.b", "flowcraft.7301", "1.2.3", "-1.2", "².1"):
        with pytest.raises(MessageInvalid):
            Subjects.parse(wrong)
