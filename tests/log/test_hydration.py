"""State and cursor read together, then the stream: no gap and no overlap, whenever they are read."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

import msgspec
import pytest

from flowcraft.cursors import Cursor
from tests.support.histories import PERFECT, judge
from tests.support.postgres import connected, migrated
from tests.support.rows import channels, make_table, versions, versions_now, write_adversarially

if TYPE_CHECKING:
    from tests.support.postgres import Plain

WRITERS = 8
TRANSACTIONS = 60
STATE = "select flowcraft.cursor() as cursor, (select json_object_agg(id, n)::text from hot) as state"

State: TypeAlias = tuple[Cursor, dict[int, int]]
Loader: TypeAlias = "Callable[[Plain], Awaitable[State]]"


async def load(connection: Plain) -> State:
    """Read the state and its cursor in one statement."""
    row = await connection.fetchrow(STATE)
    assert row is not None
    return Cursor.parse(row["cursor"]), msgspec.json.decode(row["state"], type=dict[int, int])


async def load_in_a_transaction(connection: Plain) -> State:
    """Read them in two statements of one snapshot."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        state = {row["id"]: row["n"] for row in await connection.fetch("select id, n from hot")}
        return Cursor.parse(await connection.fetchval("select flowcraft.cursor()")), state


async def load_after_writing(connection: Plain) -> State:
    """Change a row first, in the same transaction."""
    async with connection.transaction():
        await connection.execute("select pg_current_xact_id()")
        await connection.execute("update hot set n = n + 1 where id = 1")
        return await load(connection)


@pytest.mark.parametrize("loader", [load, load_in_a_transaction, load_after_writing])
async def test_states_read_at_random_moments_continue_exactly(database: str, loader: Loader) -> None:
    await make_table(database)
    async with migrated(database, channels) as log, connected(database) as connection:
        writing = asyncio.gather(*(write_adversarially(database, s, TRANSACTIONS) for s in range(WRITERS)))
        chance = random.Random(1)
        loaded: list[State] = []
        while not writing.done():
            loaded.append(await loader(connection))
            await connection.execute("select pg_sleep($1::float8 / 1000)", chance.uniform(0, 6))
        await writing
        end = await versions_now(database)
        verdicts = [judge(versions((await log.tail(at)).records), end, begin=state) for at, state in loaded]
    assert len(verdicts) > 20
    assert set(verdicts) == {PERFECT}
    assert len({cursor for cursor, _ in loaded}) > 20


async def test_a_loader_that_writes_beside_others_does_not_claim_to_have_seen_them(database: str) -> None:
    await make_table(database)
    async with migrated(database, channels) as log:
        async with connected(database) as other, connected(database) as own:
            await other.execute("begin; update hot set n = n + 1 where id = 1")
            await own.execute("begin; update hot set n = n + 1 where id = 2")
            cursor, state = await load(own)
            await own.execute("commit")
            await other.execute("commit")
        assert (state[1], state[2]) == (0, 1)
        assert versions((await log.tail(cursor)).records) == [(1, 1)]


async def test_a_cursor_read_before_the_state_would_have_shown_twice(database: str) -> None:
    await make_table(database)
    async with migrated(database, channels) as log, connected(database) as connection:
        cursor = Cursor.parse(await connection.fetchval("select flowcraft.cursor()"))
        await connection.execute("update hot set n = n + 1 where id = 1")
        _, state = await load(connection)
        verdict = judge(versions((await log.tail(cursor)).records), await versions_now(database), begin=state)
    assert verdict.doubled == 1
