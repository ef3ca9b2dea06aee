"""Rights on PostgreSQL: who may withdraw them, and that they end in commit order under writers and guards."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import asyncpg
import pytest

from flowcraft import Channels, Event, Realtime, Settings
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.runtime.node import Node
from flowcraft.viewers import Viewer
from tests.support.kept_frames import Client, Everyone
from tests.support.postgres import connected


class Said(Event):
    """Something that members may read."""

    team_id: int
    n: int


channels = Channels()
teams = channels.declare("teams.{team_id}", Said, params={"team_id": int})
PEOPLE, WRITERS = 60, 4


@teams.guard
async def is_member(viewer: Viewer, team_id: int) -> bool:
    found = await GUARDS.pop().check(viewer.subject) if GUARDS else True
    return team_id == 7 and found


class Members:
    """The table that the guard reads, and how long its answers take."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._pool = pool

    async def check(self, person: str) -> bool:
        GUARDS.append(self)
        found = await self._pool.fetchval("select exists (select from members where person = $1)", person)
        await asyncio.sleep(random.random() * 0.02)
        return bool(found)


GUARDS: list[Members] = []


async def subscribed(node: Node, person: str) -> Client:
    client = Client()
    client.gateway = node.connect(client, ["teams.7"])
    client.gateway.received(f'{{"auth":"{person}"}}')
    await client.until(lambda: client.count("subscribed") or client.refused or client.closed)
    return client


async def test_revoke_and_ask_again_end_rights_by_sql_and_by_python(database: str) -> None:
    await migrate(database, channels)
    async with (
        Realtime(channels, dsn=database, authorizer=Everyone()) as realtime,
        connected(database) as connection,
    ):
        node = await realtime.start()
        await node.until_accepting()
        for n, revoke in enumerate(("sql", "python", "python, of everybody", "rolled back")):
            ada = await subscribed(node, "ada")
            if revoke == "sql":
                await connection.execute("select flowcraft.revoke('ada', 'teams.7')")
            elif revoke == "rolled back":
                with suppress(ZeroDivisionError):
                    async with connection.transaction():
                        await realtime.revoke("ada", teams(7), via=connection)
                        raise ZeroDivisionError
            elif revoke == "python":
                async with connection.transaction():
                    await realtime.revoke(Viewer("ada"), teams(7), via=connection)
            else:
                await realtime.revoke(None)
            await realtime.broadcast(teams(7), Said(team_id=7, n=n))
            if revoke == "rolled back":
                await ada.until(lambda client=ada: 3 in client.events)  # type: ignore[misc]
                assert ada.refused == []
            else:
                await ada.until(lambda client=ada: client.refused)  # type: ignore[misc]
                assert (n in ada.events, ada.refused) == (False, ["teams.7"])
        ada = await subscribed(node, "ada")
        await connection.execute("select flowcraft.ask_again('ada')")
        await realtime.broadcast(teams(7), Said(team_id=7, n=9))
        await ada.until(lambda: 9 in ada.events)
        assert ada.refused == []


@pytest.mark.parametrize("function", ["revoke('ada')", "ask_again('ada')", "withdraw('ada', null, true)"])
async def test_a_role_without_a_grant_withdraws_nothing(database: str, function: str) -> None:
    await migrate(database, channels)
    async with connected(database) as connection:
        await connection.execute("create role nobody_in_particular")
        try:
            await connection.execute("grant usage on schema flowcraft to nobody_in_particular")
            await connection.execute("set role nobody_in_particular")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f"select flowcraft.{function}")
        finally:
            await connection.execute("reset role")
            await connection.execute("drop owned by nobody_in_particular")
            await connection.execute("drop role nobody_in_particular")


@pytest.mark.parametrize("channel", ["", "Teams.7", "teams.*.1", "*", "teams.", "teams.**", "te*"])
async def test_a_withdrawal_of_what_is_no_channel_is_refused(database: str, channel: str) -> None:
    await migrate(database, channels)
    async with connected(database) as connection:
        with pytest.raises(asyncpg.InvalidParameterValueError, match=r"channel name"):
            await connection.execute("select flowcraft.revoke('ada', $1)", channel)


async def test_no_event_that_commits_after_a_withdrawal_is_delivered_to_its_viewer(  # noqa: PLR0915
    database: str,
) -> None:
    """Four writers, people who come and go, guards in flight, and one person removed after the other."""
    await migrate(database, channels)
    settings = Settings(drain_seconds=0.01, connections_per_address=10_000)
    removed_at: dict[str, int] = {}
    heard: list[tuple[str, int]] = []
    over = asyncio.Event()
    async with (
        asyncpg.create_pool(database, min_size=4, max_size=8) as pool,
        Realtime(channels, dsn=database, authorizer=Everyone(), settings=settings) as realtime,
    ):
        people = [f"p{n}" for n in range(PEOPLE)]
        await pool.execute("create table members (person text primary key)")
        await pool.execute("insert into members select unnest($1::text[])", people)
        GUARDS[:] = [Members(pool)]
        node = await realtime.start()
        await node.until_accepting()

        async def write() -> None:
            async with connected(database) as connection:
                while not over.is_set():
                    async with connection.transaction():
                        await connection.execute("select pg_advisory_xact_lock_shared(77)")
                        left = await connection.fetchval("select count(*) from members")
                        event = Said(team_id=7, n=PEOPLE - left)
                        await realtime.broadcast(teams(7), event, via=connection)

        async def remove() -> None:
            async with connected(database) as connection:
                for number, person in enumerate(people, 1):
                    await asyncio.sleep(0.02)
                    async with connection.transaction():
                        await connection.execute("select pg_advisory_xact_lock(77)")
                        await connection.execute("delete from members where person = $1", person)
                        await realtime.revoke(person, teams(7), via=connection)
                    removed_at[person] = number
            over.set()

        async def listen(person: str) -> None:
            while not over.is_set():
                client = await subscribed(node, person)
                with suppress(TimeoutError):
                    async with asyncio.timeout(random.random() * 0.1):
                        await over.wait()
                heard.extend((person, n) for n in client.events)
                client.gateway.closed()

        async with asyncio.TaskGroup() as tasks:
            for _ in range(WRITERS):
                tasks.create_task(write())
            tasks.create_task(remove())
            for person in people:
                tasks.create_task(listen(person))
    GUARDS.clear()
    assert len(heard) > 1000
    # An event has the number of people who had been removed when it was written: at most one before its own.
    assert [(person, n) for person, n in heard if n >= removed_at[person]] == []
