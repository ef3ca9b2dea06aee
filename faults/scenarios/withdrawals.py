"""Withdrawals: a right that ends in the database ends between the events of its commit order (I35)."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from faults.outcomes import Outcome, judged, scenario
from faults.scenarios.rights import ADD, TEAM, WRITE
from faults.stage import Stage
from faults.tokens import Login
from faults.watcher import Watcher

ORDER_LOCK = 77
WRITERS = 4
AT_ONCE = 20


@scenario("I35")
async def rights_are_withdrawn_in_commit_order(stage: Stage) -> list[Outcome]:
    """Four writers, people who come and go with their guards in flight, and one removed after the other.

    An event carries how many had been removed when it was committed: writers share a lock that each removal
    has for itself. So a person who was removed as the n-th may receive no event that carries n or more.
    """
    count = stage.size.withdrawals
    people = [f"person {n}" for n in range(count)]
    removed: dict[str, int] = {}
    over = asyncio.Event()
    async with Login.open("a") as login, stage.connection() as connection:
        await connection.execute(ADD, [*people, "stayer 0", "stayer 1"], TEAM)
        servers = [await stage.serve(jwks=login.url) for _ in range(2)]
        stayers = [
            await stage.probe(
                f"stayer {n}",
                [f"teams.{TEAM}"],
                address=server.address,
                token=login.token(f"stayer {n}", kid="a"),
            )
            for n, server in enumerate(servers)
        ]
        await asyncio.gather(*(probe.until_live() for probe in stayers))
        received: list[tuple[str, int]] = []
        async with asyncio.TaskGroup() as tasks:
            for writer in range(WRITERS):
                tasks.create_task(_write_in_order(stage, writer, over))
            tasks.create_task(_remove_in_order(stage, people, removed, over))
            tasks.create_task(_terminate_backends(stage, over))
            for n, person in enumerate(people):
                chance = random.Random(f"{stage.seed} {person}")
                who = Person(n, person, login.token(person, kid="a"), chance)
                tasks.create_task(_come_and_go(servers[n % 2].address, who, removed, received, over))
        drained = await stage.drain()
    verdict = await stage.verdict()
    wrong = [(person, era) for person, era in received if era >= removed[person]]
    return [
        judged(
            "I35",
            {
                "no event after the withdrawal": not wrong,
                "they had something to lose": len(received) > count,
                "those who stay lose nothing": drained
                and verdict.lost == verdict.doubled == verdict.reordered == 0,
            },
            {
                "withdrawn": len(removed),
                "received": len(received),
                "after_withdrawal": len(wrong),
                "events": verdict.events,
                "lost": verdict.lost,
            },
        )
    ]


async def _write_in_order(stage: Stage, writer: int, over: asyncio.Event) -> None:
    async with stage.connection() as connection:
        for n in itertools.count():
            if over.is_set():
                return
            async with connection.transaction():
                await connection.execute("select pg_advisory_xact_lock_shared($1)", ORDER_LOCK)
                era = await connection.fetchval("select n from era")
                payload = json.dumps({"row": f"{writer} {n}", "version": era, "pad": ""})
                await connection.execute(WRITE, f"teams.{TEAM}", payload)
            await asyncio.sleep(0.005)


async def _remove_in_order(
    stage: Stage, people: Sequence[str], removed: dict[str, int], over: asyncio.Event
) -> None:
    """Remove one after the other, in each of three ways; those who stay are changed too, and asked again."""
    pause = stage.size.fault_seconds / len(people)
    try:
        async with stage.connection() as connection:
            for n, person in enumerate(people):
                await asyncio.sleep(pause)
                async with connection.transaction():
                    await connection.execute("select pg_advisory_xact_lock($1)", ORDER_LOCK)
                    removed[person] = await connection.fetchval("update era set n = n + 1 returning n")
                    if n % 3 == 0:
                        await connection.execute("delete from members where person = $1", person)
                    elif n % 3 == 1:
                        await connection.execute("update members set role = 'out' where person = $1", person)
                    else:
                        await connection.execute("delete from members where person = $1", person)
                        await connection.execute("select flowcraft.revoke($1, $2)", person, f"teams.{TEAM}")
                if n % 5 == 0:
                    await connection.execute(
                        "update members set role = $1 where person like 'stayer%'", str(n)
                    )
    finally:
        over.set()


async def _terminate_backends(stage: Stage, over: asyncio.Event) -> None:
    """Terminate what the servers read with, twice a second."""
    async with stage.connection() as connection:
        while not over.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await over.wait()
            await connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where application_name like 'flowcraft%' and datname = current_database()"
            )


@dataclass(frozen=True, slots=True)
class Person:
    """A person who comes and goes, for as long as about `AT_ONCE` others are next."""

    number: int
    name: str
    token: str
    chance: random.Random


async def _come_and_go(
    address: str,
    person: Person,
    removed: dict[str, int],
    received: list[tuple[str, int]],
    over: asyncio.Event,
) -> None:
    """Connect and subscribe again and again, each time for a moment, also once it is forbidden."""
    channel = f"teams.{TEAM}"
    while len(removed) < person.number - AT_ONCE and not over.is_set():  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    while len(removed) < person.number + AT_ONCE and not over.is_set():
        try:
            async with Watcher.open(address, person.token) as watcher:
                end = time.monotonic() + person.chance.uniform(0.05, 1.0)
                while not over.is_set() and not watcher.is_closed and time.monotonic() < end:
                    watcher.refused.clear()
                    watcher.subscribe([channel])
                    refused = partial(bool, watcher.refused)
                    await watcher.until(refused, person.chance.uniform(0, 0.3))
                received += [(person.name, seen.version) for seen in watcher.seen]
        except OSError:
            await asyncio.sleep(0.05)
