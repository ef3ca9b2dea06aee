"""Writers: commits of every kind, tagged so that the checker knows one event from another."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import asyncpg

if TYPE_CHECKING:
    Plain = asyncpg.Connection[asyncpg.Record]

HOT_ROWS = 8
BROADCAST = "select flowcraft.broadcast($1, $2::text::json)"
UPDATE = "update items set version = version + 1 where id = $1"
TRANSIENT = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What a database that is restarted does to its clients."""


class Writers:
    """Commit at a rate over several connections, until stopped.

    `committed` holds, for each event of a lane, when its commit was answered. A commit whose answer never
    came may or may not be in the log; its version is not used again.
    """

    def __init__(
        self, dsn: str, *, lanes: int, rate: float, count: int = 8, seed: int = 0, first_version: int = 1
    ) -> None:
        self.committed: dict[tuple[str, str, int], float] = {}
        self.kinds: Counter[str] = Counter()
        self.errors: list[str] = []
        self.waits: list[float] = []
        self.rate = rate
        self._dsn = dsn
        self._lanes = lanes
        self._count = count
        self._first_version = first_version
        self._seed = seed
        self._versions: dict[tuple[str, str], itertools.count[int]] = {}
        self._only_events = False
        self._going = asyncio.Event()
        self._going.set()

    @asynccontextmanager
    async def writing(
        self, *, only_events: bool = False, synchronous_commit: str | None = None
    ) -> AsyncIterator[None]:
        """Write for as long as the block runs; `only_events` without rows, rollbacks and other trouble."""
        self._going.set()
        self._only_events = only_events
        tasks = [
            asyncio.create_task(self._write(number, synchronous_commit)) for number in range(self._count)
        ]
        try:
            yield
        finally:
            self._going.clear()
            await asyncio.gather(*tasks)

    async def _write(self, number: int, synchronous_commit: str | None) -> None:
        chance = random.Random(self._seed * 1000 + number)
        while self._going.is_set():
            connection: Plain | None = None
            try:
                connection = await asyncpg.connect(self._dsn, timeout=2, command_timeout=10)
                if synchronous_commit:
                    await connection.execute(f"set synchronous_commit = {synchronous_commit}")
                await self._work(connection, f"w{number}", chance)
            except (*TRANSIENT, TimeoutError) as error:
                self.errors.append(f"{type(error).__name__}: {error}")
                await asyncio.sleep(0.05)
            finally:
                if connection is not None:
                    with suppress(*TRANSIENT):
                        connection.terminate()

    async def _work(self, connection: Plain, name: str, chance: random.Random) -> None:
        pause = self._count / self.rate
        due = time.monotonic() + chance.uniform(0, pause)
        while self._going.is_set():
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due = max(due + pause, time.monotonic() - 1.0)
            began = time.monotonic()
            await self._commit_something(connection, name, chance)
            self.waits.append(time.monotonic() - began)

    async def _commit_something(self, connection: Plain, name: str, chance: random.Random) -> None:
        drawn = chance.random()
        if drawn < 0.6 or self._only_events:
            await self._one_event(connection, name, chance)
        elif drawn < 0.8:
            await self._several(connection, name, chance)
        elif drawn < 0.9:
            await self._rolled_back(connection, name, chance)
        else:
            await self._serializable(connection, name, chance)

    async def _one_event(self, connection: Plain, name: str, chance: random.Random) -> None:
        event = self._event(name, chance)
        await connection.execute(BROADCAST, event[0], _payload(event))
        self._note("one", [event])

    async def _several(self, connection: Plain, name: str, chance: random.Random) -> None:
        """Events of several lanes, a savepoint that goes, and hot rows, in one transaction that may wait."""
        events = [self._event(name, chance) for _ in range(chance.randint(1, 3))]
        async with connection.transaction():
            for event in events:
                await connection.execute(BROADCAST, event[0], _payload(event))
            if chance.random() < 0.5:
                with suppress(_Abandoned):
                    async with connection.transaction():
                        lost = self._event(name, chance)
                        await connection.execute(BROADCAST, lost[0], _payload(lost))
                        raise _Abandoned
            for item in sorted(chance.sample(range(1, HOT_ROWS + 1), 2)):
                await connection.execute(UPDATE, item)
            if chance.random() < 0.3:
                await asyncio.sleep(chance.uniform(0, 0.03))
        self._note("several", events)

    async def _rolled_back(self, connection: Plain, name: str, chance: random.Random) -> None:
        with suppress(_Abandoned):
            async with connection.transaction():
                event = self._event(name, chance)
                await connection.execute(BROADCAST, event[0], _payload(event))
                await connection.execute(UPDATE, chance.randint(1, HOT_ROWS))
                raise _Abandoned
        self.kinds["rolled back"] += 1

    async def _serializable(self, connection: Plain, name: str, chance: random.Random) -> None:
        event = self._event(name, chance)
        try:
            async with connection.transaction(isolation="serializable"):
                item = chance.randint(1, HOT_ROWS)
                await connection.fetchval("select version from items where id = $1", item)
                await connection.execute(BROADCAST, event[0], _payload(event))
                await connection.execute(UPDATE, item)
        except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError):
            self.kinds["not serializable"] += 1
        else:
            self._note("serializable", [event])

    def _event(self, name: str, chance: random.Random) -> tuple[str, str, int]:
        channel = f"lanes.{chance.randrange(self._lanes)}"
        versions = self._versions.setdefault((channel, name), itertools.count(self._first_version))
        return channel, name, next(versions)

    def _note(self, kind: str, events: list[tuple[str, str, int]]) -> None:
        self.kinds[kind] += 1
        now = time.monotonic()
        for event in events:
            self.committed[event] = now


class _Abandoned(Exception):
    """Rolls a transaction back."""


def _payload(event: tuple[str, str, int]) -> str:
    return json.dumps({"row": event[1], "version": event[2], "pad": ""})
