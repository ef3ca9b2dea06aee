"""A channel with many members: at each change pages show what an oracle has, as a list or as a count."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from flowcraft.adapters.memory import MemoryLog, MemoryRows
from flowcraft.adapters.memory_members import MemoryMembers
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.adapters.postgres.members import PostgresMembers
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.adapters.postgres.table_rows import PostgresRows
from flowcraft.core.attendance import Change
from flowcraft.core.kinds import part
from flowcraft.cursors import Cursor
from flowcraft.ports import EventLog, MemberStore, RowsReader
from flowcraft.records import Kind, Limit, Record
from flowcraft.testing.contracts.members import members_contract_channels
from tests.support.postgres import connected

ROOM = "room_members.1"
LISTED = 5
"""In the property; a list begins again with 4."""
PEOPLE = 9


@dataclass(slots=True)
class Page:
    """What a client shows that applies the records of the log and reads the rows after a reset."""

    log: EventLog
    rows: RowsReader
    cursor: Cursor
    shown: dict[int, str] = field(default_factory=dict[int, str])
    unlisted: int = 0
    resets: int = 0

    async def read(self) -> None:
        found = await self.rows.read(ROOM, Limit(100, 10**6))
        self.cursor, self.unlisted = found.cursor, found.skipped
        self.shown = {json.loads(row)["id"]: row for row in found.rows}

    async def follow(self) -> None:
        batch = await self.log.tail(self.cursor)
        self.cursor = batch.cursor
        records = [record for record in batch.records if record.channel == ROOM]
        if any(record.kind is Kind.RESET for record in records):
            self.resets += 1
            await self.read()
            return
        for record in records:
            if record.kind is Kind.COUNT:
                assert not self.shown, "a count beside a list"
                self.unlisted = record.count
            else:
                assert not self.unlisted, "a member beside a count"
                id_ = json.loads(record.payload)["id"]
                self.shown.pop(id_, None)
                if record.kind is Kind.EVENT:
                    self.shown[id_] = record.payload


Step = tuple[str, list[tuple[int, str | None]], bool] | str
"""A node that attends, with the names of members, and whether these are all; or one that has ended."""
steps = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from("abc"),
            st.lists(
                st.tuples(st.integers(0, PEOPLE - 1), st.sampled_from(("x", "y", None))),
                max_size=PEOPLE,
                unique_by=lambda one: one[0],
            ),
            st.sampled_from((False, False, False, True)),
        ),
        st.sampled_from("abc"),
    ),
    max_size=12,
)


async def check(page: Page, store: MemberStore, done: list[Step], hurry: Callable[[], object]) -> None:
    """Perform the steps; after each, the page shows what an oracle does, and so does one that comes then."""
    oracle: dict[str, dict[int, str]] = {}
    is_counted = False
    for step in done:
        hurry()
        if isinstance(step, str):
            beats = await store.beat(step)
            assert list(await store.forget({step: beats[step]})) == [step]
            oracle.pop(step, None)
        else:
            node, people, whole = step
            await store.beat(node)
            changes = [Change(ROOM, str(n), name and f'{{"id":{n},"name":"{name}"}}') for n, name in people]
            assert await store.attend(node, changes, whole=whole)
            mine = {} if whole else oracle.get(node, {})
            mine |= {n: name for n, name in people if name is not None}
            oracle[node] = {n: name for n, name in mine.items() if (n, None) not in people}
        there = {n for mine in oracle.values() for n in mine}
        is_counted = len(there) > (LISTED * 0.8 if is_counted else LISTED)
        resets = page.resets
        await page.follow()
        assert page.resets - resets <= 1
        late = Page(page.log, page.rows, page.cursor)
        await late.read()
        for one in (page, late):
            assert one.unlisted == (len(there) if is_counted else 0)
            assert set(one.shown) == (set() if is_counted else there)
        assert page.shown == late.shown


@given(steps)
def test_a_page_is_right_after_every_change(done: list[Step]) -> None:
    async def run() -> None:
        log = MemoryLog()
        rows = MemoryRows(log, members_contract_channels())
        page = Page(log, rows, (await log.position()).cursor)

        def hurry() -> None:
            for count in log.attendance.counts.values():
                count.sent_at = float("-inf")

        await check(page, MemoryMembers(log, listed=LISTED), done, hurry)

    asyncio.run(run())


async def test_a_page_is_right_after_every_change_in_postgresql(database: str) -> None:
    await migrate(database, members_contract_channels())
    log, rows = PostgresLog(database), PostgresRows(database, members_contract_channels())
    store = PostgresMembers(database, listed=LISTED)
    page = Page(log, rows, (await log.position()).cursor)
    seed = random.randrange(10**6)
    print("seed", seed)
    dice = random.Random(seed)
    done: list[Step] = []
    for _ in range(150):
        node, people = dice.choice("abc"), dice.sample(range(PEOPLE), dice.randrange(PEOPLE))
        names = [(n, dice.choice(("x", "y", None))) for n in people]
        done.append(node if dice.random() < 0.25 else (node, names, dice.random() < 0.2))
    async with connected(database) as connection:
        await connection.execute(
            "create function flowcraft_test_hurry() returns trigger language plpgsql as $$"
            " begin new.sent_at := new.sent_at - interval '1 hour'; return new; end $$;"
            "create trigger hurry before insert or update on flowcraft.member_count"
            " for each row execute function flowcraft_test_hurry()"
        )
    try:
        await check(page, store, done, lambda: None)
    finally:
        for part_ in (store, rows, log):
            await part_.close()
    assert page.resets > 0


def test_of_the_counts_of_a_replay_the_last_is_sent() -> None:
    def record(n: int, channel: str, kind: Kind) -> Record:
        return Record(n, n, channel, f'{{"count":{n}}}', kind=kind)

    records = (
        record(1, "a_members.1", Kind.COUNT),
        record(2, "b_members.1", Kind.COUNT),
        record(3, "b", Kind.EVENT),
        record(4, "a_members.1", Kind.COUNT),
    )
    assert part(records, lambda _: ()).records == (records[1], records[2], records[3])
