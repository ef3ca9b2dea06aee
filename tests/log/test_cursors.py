"""Cursors: their text, and what a position claims to have seen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcraft.cursors import LONGEST_CURSOR, Cursor, Lineage, Snapshot, marked
from flowcraft.errors import CursorExpired, CursorMalformed
from flowcraft.xids import Xids, parse_xid

HERE = Lineage(system=7711228394610713425, timeline=1, generation=0)
LARGEST = 2**63 - 1

xids = st.integers(0, LARGEST)


@st.composite
def snapshots(draw: st.DrawFn, largest: int = 60) -> Snapshot:
    xmax = draw(st.integers(1, largest))
    return Snapshot(
        xmax, draw(st.frozensets(st.integers(1, xmax - 1)) if xmax > 1 else st.just(frozenset[int]()))
    )


lineages = st.builds(
    Lineage,
    system=st.integers(0, LARGEST),
    timeline=st.integers(1, 2**31 - 1),
    generation=st.integers(0, 2**31 - 2),
    database=st.integers(0, 2**32 - 1),
)


@st.composite
def cursors(draw: st.DrawFn) -> Cursor:
    seen = draw(snapshots(largest=LARGEST))
    mark = draw(st.integers(0, 2**40 - 1))
    return Cursor(draw(lineages), seen, marked(seen.xmax - 1, mark))


def test_a_cursor_names_its_lineage_and_the_transactions_it_has_not_seen() -> None:
    cursor = Cursor(HERE, Snapshot(755, frozenset({753, 752})))
    assert str(cursor) == "7711228394610713425/1.0/755:752-753"
    assert str(Cursor(HERE, Snapshot(755, frozenset({753, 751})))) == "7711228394610713425/1.0/755:751,753"
    assert str(Cursor(HERE, Snapshot(3))) == "7711228394610713425/1.0/3:"


@given(cursors())
def test_a_cursor_survives_the_way_to_the_browser_and_back(cursor: Cursor) -> None:
    assert Cursor.parse(str(cursor)) == cursor


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1/1.0",
        "1/1.0/",
        "1/1.0/x:",
        "1/1.0/5",
        "1/1.0/5:,",
        "1/1.0/5:3,",
        "1/1.0/5:3:4",
        "1/1.0/-5:",
        " 1/1.0/5:",
        "1/1.0/5:\n",
        "1/1/5:",
        "a/1.0/5:",
        "1/1.0/٥:",  # noqa: RUF001  # a digit, but not ours
        f"1/1.0/{LARGEST + 1}:",
        f"1/1.0/{2**64 - 1}:",
        f"1/1.0/{2**64}:",
        f"1/1.0/1{'0' * 400}:",
        f"1/1.0/5:{LARGEST + 1}",
        f"1/1.0/{LARGEST}:{LARGEST + 1}",
        f"{2**63}/1.0/5:",
        f"1/{2**31}.0/5:",
        f"1/1.{2**31 - 1}/5:",
        "1/0.0/5:",
        "1/1.0/0:",
        "1/1.0/5:0",
        "1/1.0/5:5",
        "1/1.0/5:6",
        "1/1.0/5:3,3",
        "1/1.0/5:3,4",
        "1/1.0/9:5-3",
        "1/1.0/9:3-3",
        "1/1.0/9:3-4,4-6",
        "1/1.0/9:3-",
        "1/1.0/9:3-9",
        "1.0/1.0/9:",
        "1.05/1.0/9:",
        f"1.{2**32}/1.0/9:",
        "1/1.0/9:/0",
        "1/1.0/9:/",
        "1/1.0/9:/07",
        f"1/1.0/9:/{2**40}",
        "1/1.0/5:4,3",
        "1/1.0/05:",
        "1/1.0/5:03",
        "01/1.0/5:",
        "1/01.0/5:",
        "1/1.00/5:",
        "1/1.0/5.0:",
        "1/1.0/5e3:",
        "1/1.0/+5:",
        "1/1.0/5_0:",
        "1/1.0/5:\x00",
        "1/1.0/\u00b2:",
        "1/1.0/5:" + "4," * 40_000 + "4",
    ],
)
def test_what_is_not_a_cursor_is_malformed(text: str) -> None:
    with pytest.raises(CursorMalformed, match="is not a cursor; reload the state and subscribe again"):
        Cursor.parse(text)


@given(st.text() | st.from_regex(r"[0-9]{1,21}/[0-9]{1,12}\.[0-9]{1,12}/[0-9]{1,21}:([0-9]{1,21},?){0,4}"))
def test_any_text_is_a_cursor_in_its_one_spelling_or_malformed(text: str) -> None:
    try:
        cursor = Cursor.parse(text)
    except CursorMalformed:
        return
    assert_possible(cursor)
    assert str(cursor) == text


@given(st.data())
def test_a_cursor_that_was_tampered_with_is_another_one_or_malformed(data: st.DataObject) -> None:
    text = str(data.draw(cursors()))
    for _ in range(data.draw(st.integers(1, 3))):
        at, end = sorted((data.draw(st.integers(0, len(text))), data.draw(st.integers(0, len(text)))))
        text = text[:at] + data.draw(st.text("0123456789/.:,- ٣", max_size=4)) + text[end:]
    try:
        cursor = Cursor.parse(text)
    except CursorMalformed:
        return
    assert_possible(cursor)
    assert str(cursor) == text


def test_a_cursor_beside_a_million_transactions_in_a_row_is_short_and_takes_no_memory() -> None:
    text = "1.5/1.0/9000000000000000000:3-8999999999999999999/7"
    cursor = Cursor.parse(text)
    assert str(cursor) == text
    assert (cursor.covers(2), cursor.covers(3), cursor.covers(8_999_999_999_999_999_999)) == (
        True,
        False,
        False,
    )
    assert cursor.snapshot.clamp(10) == Snapshot(10, Xids(((3, 9),)))


@given(st.integers(1, 3_000), st.integers(2, 9))
def test_a_cursor_is_never_longer_than_a_header(count: int, apart: int) -> None:
    ids = frozenset(range(10_000_000, 10_000_000 + count * apart, apart))
    text = str(Cursor(HERE, Snapshot(11_000_000, ids)))
    assert len(text) <= LONGEST_CURSOR
    if text.endswith("*"):
        with pytest.raises(CursorExpired):
            Cursor.parse(text)
    else:
        assert Cursor.parse(text).snapshot.xip == ids


@given(snapshots(), snapshots(), st.integers(0, 70))
def test_ranges_are_sets_of_ids(one: Snapshot, other: Snapshot, limit: int) -> None:
    a, b = frozenset(one.xip), frozenset(other.xip)
    assert (frozenset(one.running.union(other.running)), one.running.is_within(other.running)) == (
        a | b,
        a <= b,
    )
    assert frozenset(one.running.below(limit)) == {xid for xid in a if xid < limit}
    assert (len(one.running), one.running == a, Xids.parse(str(one.running))) == (len(a), True, one.running)


def assert_possible(cursor: Cursor) -> None:
    """Check that PostgreSQL has room for every number of a cursor."""
    lineage, seen = cursor.lineage, cursor.snapshot
    assert 0 <= lineage.system < 2**63
    assert 0 < lineage.timeline < 2**31
    assert 0 <= lineage.generation < 2**31 - 1
    assert all(0 < xid < seen.xmax for xid in seen.xip)
    assert 0 < seen.xmax < 2**63


@pytest.mark.parametrize("text", ["", "00", "05", "-1", "+1", "1.0", "1e3", "٣", " 1", "1\n", str(2**63)])
def test_what_is_not_a_transaction_id_is_none(text: str) -> None:
    assert parse_xid(text) is None


@given(st.integers(0, LARGEST))
def test_a_transaction_id_is_read_in_decimal(xid: int) -> None:
    assert parse_xid(str(xid)) == xid


def test_an_error_never_repeats_more_of_a_hostile_text_than_it_needs() -> None:
    with pytest.raises(CursorMalformed) as raised:
        Cursor.parse("x" * 100_000)
    assert len(str(raised.value)) < 200


def test_a_snapshot_is_read_as_postgresql_writes_it() -> None:
    assert Snapshot.parse("752:755:752,753") == Snapshot(755, frozenset({752, 753}))
    assert Snapshot.parse("755:755:") == Snapshot(755)
    with pytest.raises(ValueError, match="'755' is not a snapshot of the form xmin:xmax:xip"):
        Snapshot.parse("755")


@given(snapshots())
def test_a_snapshot_can_be_written_as_postgresql_reads_it(snapshot: Snapshot) -> None:
    running = ",".join(map(str, sorted(snapshot.xip)))
    assert Snapshot.parse(f"{snapshot.xmin}:{snapshot.xmax}:{running}") == snapshot


@given(snapshots(), st.integers(0, 80))
def test_below_xmin_all_is_covered_and_from_xmax_on_nothing(snapshot: Snapshot, xid: int) -> None:
    assert snapshot.covers(xid) or xid >= snapshot.xmin
    assert not snapshot.covers(xid) or (xid < snapshot.xmax and xid not in snapshot.xip)


@given(snapshots(), st.integers(0, 80), st.integers(0, 80))
def test_clamping_forgets_what_is_above_and_claims_nothing_new(
    snapshot: Snapshot, limit: int, xid: int
) -> None:
    assert snapshot.clamp(limit).covers(xid) == (snapshot.covers(xid) and xid < limit)


@given(snapshots(), st.integers(0, 80))
def test_a_clamped_snapshot_names_no_transaction_above_itself(snapshot: Snapshot, limit: int) -> None:
    clamped = snapshot.clamp(limit)
    assert all(xid < clamped.xmax for xid in clamped.xip)
    assert clamped.clamp(limit) == clamped


def test_a_read_without_events_keeps_the_end_and_forgets_what_has_ended() -> None:
    before = Cursor(HERE, Snapshot(755, frozenset({752, 753})))
    assert before.advance(Snapshot(900, frozenset({753, 800})), None) == Cursor(
        HERE, Snapshot(755, frozenset({753}))
    )


def test_a_read_ends_just_above_the_newest_event_whatever_else_is_running() -> None:
    before = Cursor(HERE, Snapshot(755))
    now = Snapshot(900, frozenset({757, 800}))
    assert before.advance(now, 760) == Cursor(HERE, Snapshot(761, frozenset({757})))


def test_an_event_of_an_old_transaction_does_not_move_the_end_back() -> None:
    before = Cursor(HERE, Snapshot(755, frozenset({752})))
    assert before.advance(Snapshot(900), 752) == Cursor(HERE, Snapshot(755))


@given(snapshots(), snapshots(largest=80), st.data())
def test_reading_on_loses_nothing_and_repeats_nothing(
    start: Snapshot, later: Snapshot, data: st.DataObject
) -> None:
    # Time only goes forward: what was visible stays so.
    now = Snapshot(max(start.xmax, later.xmax), frozenset(x for x in later.xip if not start.covers(x)))
    wrote = data.draw(st.frozensets(st.integers(0, 80)), label="transactions that wrote events")
    visible = {xid for xid in wrote if now.covers(xid)}
    before = Cursor(HERE, start)
    batch = {xid for xid in visible if not before.covers(xid)}
    after = before.advance(now, max(batch, default=None))
    assert {xid for xid in wrote if after.covers(xid)} == {xid for xid in wrote if before.covers(xid)} | batch
    assert not any(after.covers(xid) and not now.covers(xid) for xid in range(90)), "never claims the future"
