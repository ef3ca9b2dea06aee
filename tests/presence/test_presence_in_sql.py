"""Presence in SQL: nodes that write at the same time, roles of their own, and what a large herd costs."""

from __future__ import annotations

import asyncio
import json
import random
import time

from flowcraft.adapters.postgres.members import PostgresMembers
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.adapters.postgres.statements import statement
from flowcraft.channels import Channels
from flowcraft.core.attendance import Change
from flowcraft.testing.contracts.members import members_contract_channels
from tests.support.postgres import connected

ROOMS, PEOPLE, NODES, ROUNDS = 2, 3, 4, 150


async def test_nodes_that_write_at_the_same_time_leave_a_log_that_is_the_table(database: str) -> None:
    """Each event changes what is shown, and all of them together are what the table shows."""
    await migrate(database, members_contract_channels())

    async def write(node: str, dice: random.Random) -> None:
        store = PostgresMembers(database)
        await store.beat(node)
        for _ in range(ROUNDS):
            seats = {(dice.randrange(ROOMS), dice.randrange(PEOPLE)) for _ in range(dice.randint(1, 4))}
            changes = [
                Change(
                    f"room_members.{room}", str(one), dice.choice((None, f'{{"id":{one},"name":"{node}"}}'))
                )
                for room, one in seats
            ]
            if not await store.attend(node, changes, whole=dice.random() < 0.1):
                await store.beat(node)
            if dice.random() < 0.05:
                await store.forget({f"node {dice.randrange(NODES)}": dice.randint(1, 3)})
        await store.close()

    seed = random.randrange(10**6)
    print("seed", seed)
    await asyncio.gather(*(write(f"node {n}", random.Random(f"{seed} {n}")) for n in range(NODES)))
    async with connected(database) as connection:
        events = await connection.fetch("select channel, payload, kind from flowcraft.event order by id")
        shown = await connection.fetch(
            "select distinct on (channel, key) channel, key, info from flowcraft.member"
            " order by channel, key, number desc"
        )
        orphans = await connection.fetchval(
            "select count(*) from flowcraft.member where node not in (select node from flowcraft.node)"
        )
    pages: dict[tuple[str, str], str] = {}
    for channel, payload, kind in events:
        key = channel, str(json.loads(payload)["id"])
        if kind == b"g":
            assert pages.pop(key, None) is not None, "gone, and was not there"
        else:
            assert pages.get(key) != payload, "sent again as it was"
            pages[key] = payload
    assert pages == {(row["channel"], row["key"]): row["info"] for row in shown}
    assert orphans == 0
    assert len(events) > ROUNDS


async def test_a_server_of_a_role_of_its_own_may_write_members(database: str) -> None:
    """A role that was granted what a server needs before 0011 needs no grant more."""
    async with connected(database) as connection:
        await migrate(connection, Channels())
        tables = ("member", "node", "member_turn", "member_count")
        await connection.execute(f"drop table {', '.join(f'flowcraft.{table}' for table in tables)}")
        for function in ("beat(text)", "attend(text, boolean, text[], text[], text[], bigint)"):
            await connection.execute(f"drop function flowcraft.{function}")
        for function in ("forget(text[], bigint[])", "members(text, bigint, bigint)"):
            await connection.execute(f"drop function flowcraft.{function}")
        await connection.execute("drop function flowcraft.measured(xid8[], xid8[], text[], bigint)")
        await connection.execute("delete from flowcraft.migration where version > 10")
        role = f"server_{random.randrange(10**9)}"
        await connection.execute(f"create role {role}; grant usage on schema flowcraft to {role}")
        await connection.execute(f"grant execute on function flowcraft.changes, flowcraft.wake to {role}")
        await migrate(connection, members_contract_channels())
        await connection.execute(f"set role {role}")
        assert await connection.fetch("select * from flowcraft.beat('a')")
        assert await connection.fetchval(statement("may_measure"))
        assert await connection.fetchval("select flowcraft.attend('a', false, '{c}', '{1}', '{x}')")
        await connection.execute("reset role")
        await connection.execute(f"drop owned by {role}; drop role {role}")


async def test_a_thousand_members_come_and_end_in_a_statement_each(database: str) -> None:
    await migrate(database, members_contract_channels())
    store = PostgresMembers(database, listed=1000)
    herd = [Change("room_members.1", str(n), f'{{"id":{n},"name":"n"}}') for n in range(1000)]
    await store.beat("a")
    began = time.monotonic()
    assert await store.attend("a", herd, whole=True)
    came = time.monotonic()
    assert list(await store.forget({"a": 1})) == ["a"]
    ended = time.monotonic()
    print(f"1,000 members came in {came - began:.3f} s, ended in {ended - came:.3f} s")
    async with connected(database) as connection:
        rows = await connection.fetch("select kind, count(*) from flowcraft.event group by 1 order by 1")
    assert [tuple(row) for row in rows] == [(b"e", 1000), (b"g", 1000)]
    await store.close()
