"""The oracle: what real clients show is compared with what SQL says, while everything restarts."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import asyncpg

from faults.node_host import HostState, NodeHost, Rows
from faults.programs import ServerProgram
from faults.sizes import TINY
from faults.stage import Cluster, Stage
from faults.writers import TRANSIENT
from flowcraft.cursors import Cursor

if TYPE_CHECKING:
    Plain = asyncpg.Connection[asyncpg.Record]

STATE = "select json_object_agg(id, version)::text as state, flowcraft.cursor() as cursor from items"
CHANGE = "update items set version = version + 1 where id = $1"
CHANGE_ANY = """
update items set version = version + 1
where id = (select id from items where id > 2 order by random() limit 1)
"""
INSERT = "insert into items (id, version) values ($1, 0)"
COUPLE = (1, 2)
CLIENTS = ("first", "second")
STATES = 6
WRITERS = 3
WRITING_SECONDS = 0.25
QUIET_SECONDS = 15.0


class Abandoned(Exception):
    """Rolls a transaction back."""


async def test_what_clients_show_is_what_the_database_says_whatever_restarts() -> None:
    seed = int(os.environ.get("FLOWCRAFT_SEED") or random.SystemRandom().randrange(1_000_000))
    print(f"FLOWCRAFT_SEED={seed}")
    async with (
        Cluster.open() as cluster,
        Stage.open(TINY, seed, cluster) as stage,
        NodeHost.open() as host,
    ):
        board = Board(stage, host)
        await board.begin()
        faults = list(_faults(stage, await stage.serve(settings={"drain_seconds": 0.2})))
        stage.chance.shuffle(faults)
        new_rows = itertools.count(1000)
        for fault in faults:
            async with board.writing(new_rows):
                await asyncio.sleep(WRITING_SECONDS)
                await fault()
                await asyncio.sleep(WRITING_SECONDS)
            await board.agrees()
        assert not host.errors
        assert board.commits > 10 * len(faults)
        assert board.hydrations > 2 * STATES
    board.never_came_apart()


def _faults(stage: Stage, server: ServerProgram) -> Iterator[Callable[[], Awaitable[None]]]:
    """Whatever may end, and begins again."""

    async def restart(number: signal.Signals) -> None:
        await server.stop(number)
        await server.start()

    yield lambda: restart(signal.SIGTERM)
    yield lambda: restart(signal.SIGKILL)
    yield lambda: asyncio.to_thread(stage.cluster.server.restart, "fast")
    yield lambda: asyncio.to_thread(stage.cluster.server.restart, "immediate")


class Board:
    """States of real clients, dropped and hydrated anew all the time, and those who write what they show."""

    def __init__(self, stage: Stage, host: NodeHost) -> None:
        self.commits = 0
        self.hydrations = 0
        self._stage = stage
        self._host = host
        self._states: list[HostState] = []
        self._all: list[HostState] = []

    async def begin(self) -> None:
        for client in CLIENTS:
            await self._host.open_client(client, self._stage.address)
        for number in range(STATES):
            await self._hydrate(number)

    @asynccontextmanager
    async def writing(self, new_rows: Iterator[int]) -> AsyncIterator[None]:
        """Change rows, and replace states, for as long as the block runs."""
        going = asyncio.Event()
        going.set()
        tasks = [asyncio.create_task(self._write(number, going, new_rows)) for number in range(WRITERS)]
        tasks.append(asyncio.create_task(self._replace(going)))
        try:
            yield
        finally:
            going.clear()
            await asyncio.gather(*tasks)

    async def agrees(self) -> None:
        """Nobody writes: as soon as all is settled and fresh, every state is the database's."""
        truth, _ = await self._load()
        xid = await self._stage.commit_marker()
        assert await self._host.drain(xid, QUIET_SECONDS), "not settled"
        end = time.monotonic() + QUIET_SECONDS
        for state in self._states:
            shown = await self._host.read(state)
            while not shown.fresh or shown.data != truth:
                assert time.monotonic() < end, f"{shown} is not {truth}"
                await asyncio.sleep(0.02)
                shown = await self._host.read(state)

    def never_came_apart(self) -> None:
        """Two rows that are always changed together are never shown apart."""
        shown = [shown.data for state in self._all for shown in state.shown if shown.data is not None]
        one, other = map(str, COUPLE)
        assert [data for data in shown if data[one] != data[other]] == []
        assert len({data[one] for data in shown}) > 2 * STATES

    async def _hydrate(self, number: int) -> None:
        self.hydrations += 1
        state = await self._host.state(CLIENTS[number % len(CLIENTS)], "item_update", self._load)
        self._states.insert(number, state)
        self._all.append(state)

    async def _load(self) -> tuple[Rows, Cursor]:
        async with self._stage.connection() as connection:
            row = await connection.fetchrow(STATE)
        assert row is not None
        return json.loads(row["state"]), Cursor.parse(row["cursor"])

    async def _replace(self, going: asyncio.Event) -> None:
        while going.is_set():
            number = self._stage.chance.randrange(STATES)
            await self._host.drop(self._states.pop(number))
            await self._hydrate(number)
            await asyncio.sleep(self._stage.chance.uniform(0, 0.2))

    async def _write(self, number: int, going: asyncio.Event, new_rows: Iterator[int]) -> None:
        chance = random.Random(f"{self._stage.seed} {number}")
        while going.is_set():
            with suppress(*TRANSIENT, Abandoned):
                async with self._stage.connection() as connection:
                    while going.is_set():
                        await _commit_something(connection, chance, new_rows)
                        self.commits += 1
                        await asyncio.sleep(chance.uniform(0, 0.02))
            await asyncio.sleep(0.02)


async def _commit_something(connection: Plain, chance: random.Random, new_rows: Iterator[int]) -> None:
    drawn = chance.random()
    if drawn < 0.2:
        await connection.execute(INSERT, next(new_rows))
    elif drawn < 0.5:
        await connection.execute(CHANGE_ANY)
    else:
        async with connection.transaction():
            await connection.execute(CHANGE, COUPLE[0])
            await asyncio.sleep(chance.choice([0, 0, 0.005]))
            if drawn > 0.9:
                raise Abandoned
            await connection.execute(CHANGE, COUPLE[1])
