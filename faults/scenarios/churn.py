"""Churn: many come and go, and subscriptions race with their end (I11, I12)."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from typing import Any

from faults.node_host import NodeHost
from faults.outcomes import Outcome, judged, scenario
from faults.probe import Probe
from faults.programs import ServerProgram
from faults.stage import Stage

AT_ONCE = 50
WARM_UP = 500
MEGABYTE = 1024 * 1024


@scenario("I11")
async def ten_thousand_come_and_go(stage: Stage) -> list[Outcome]:
    """Connect, subscribe, receive something, leave: memory, tasks, descriptors and entries return."""
    server = await stage.serve()
    writers = stage.writers(rate=50, count=2)
    async with writers.writing():
        await _churn(stage, WARM_UP)
        before = await _resting(server)
        memory, files = server.resident_bytes(), server.open_files()
        began = time.monotonic()
        done = await _churn(stage, stage.size.cycles)
        rate = done / (time.monotonic() - began)
        after = await _resting(server)
        grown, opened = server.resident_bytes() - memory, server.open_files() - files
    left = {name: after[name] - before[name] for name in ("connections", "subscriptions")}
    tasks = len(after["tasks"]) - len(before["tasks"])
    return [
        judged(
            "I11",
            {
                "all cycles done": done == stage.size.cycles,
                "memory returns": grown <= 4 * MEGABYTE,
                "descriptors return": opened <= 2,
                "entries return": all(n == 0 for n in left.values()),
                "tasks return": tasks == 0,
            },
            {
                "cycles": done,
                "per_s": rate,
                "grown_mb": grown / MEGABYTE,
                "descriptors": opened,
                **left,
                "tasks": tasks,
            },
            times={"at least 200/s": rate >= 200},
        )
    ]


async def _resting(server: ServerProgram) -> dict[str, Any]:
    return await server.until(lambda health: bool(health["connections"] == 0))


async def _churn(stage: Stage, cycles: int) -> int:
    numbers = iter(range(cycles))
    done = 0

    async def come_and_go(chance: random.Random) -> None:
        nonlocal done
        for number in numbers:
            probe = Probe(stage.servers[0].address, name=f"churn {number}", random=chance)
            for lane in chance.sample(range(stage.size.lanes), 3):
                probe.subscribe(f"lanes.{lane}")
            await probe.start()
            await (probe.until_live() if number % 3 else probe.until_open())
            await probe.close()
            done += 1

    await asyncio.gather(*(come_and_go(random.Random(f"{stage.seed} {n}")) for n in range(AT_ONCE)))
    gc.collect()
    return done


@scenario("I12")
async def subscriptions_race_with_their_end(stage: Stage) -> list[Outcome]:
    """The real client in Node: after unsubscribe() has returned, nothing of it is called."""
    await stage.serve()
    writers = stage.writers(rate=2 * stage.size.rate)
    async with NodeHost.open() as host, writers.writing():
        await host.open_client("racer", stage.address, linger_ms=2)
        raced = await host.race("racer", "item_update", rounds=stage.size.rounds, seed=stage.seed)
    return [
        judged(
            "I12",
            {
                "no late callback": raced.late == 0,
                "all rounds": raced.rounds == stage.size.rounds,
                "handlers were called": raced.calls > stage.size.rounds / 10,
            },
            {"late": raced.late, "rounds": raced.rounds, "calls": raced.calls},
        )
    ]
