"""Writers: whatever becomes of the readers, those who commit do not notice (I16)."""

from __future__ import annotations

import asyncio
import signal
import time

from faults.outcomes import Outcome, judged, scenario
from faults.stage import Stage, quantile
from faults.writers import Writers

LOCK_WAIT = "10ms"
OWN_LOCKS = ("object 0 of class 1262 of database 0", "extension of relation")
"""PostgreSQL's, for a commit with a NOTIFY and for a table that grows: a holder may get no processor."""
NOISE_SECONDS = 0.005
BACKLOG = """
insert into flowcraft.event (channel, payload)
select 'lanes.' || (n % $2), json_build_object('row', 'backlog', 'version', n, 'pad', '')::text
from generate_series(1, $1) as n
"""


@scenario("I16")
async def readers_stop_and_writers_go_on(stage: Stage) -> list[Outcome]:
    """The reader is frozen while a large backlog grows, then comes back; no writer fails or waits for us."""
    # A server of its own: every wait for a lock that is longer than 10 ms is written to its log.
    async with stage.alone({"deadlock_timeout": LOCK_WAIT}) as own:
        return await _judge(own)


async def _judge(stage: Stage) -> list[Outcome]:
    server = await stage.serve()
    await stage.probe_all(stage.size.lanes)
    # One hot row each would make them wait for one another; only events, so that a wait is ours.
    writers = stage.writers()
    seconds = stage.size.fault_seconds
    async with writers.writing(only_events=True):
        await asyncio.sleep(0.5)
        followed = await _measure(writers, seconds)
        server.send(signal.SIGSTOP)
        stopped = await _measure(writers, seconds)
        async with stage.connection() as connection:
            await connection.execute(BACKLOG, stage.size.backlog, stage.size.lanes, timeout=120)
        server.send(signal.SIGCONT)
        returning = await _measure(writers, seconds)
    drained = await stage.drain(60)
    verdict = await stage.verdict()
    waits = [line for line in stage.cluster.log_lines() if "still waiting for" in line]
    others = [line for line in waits if not any(lock in line for lock in OWN_LOCKS)]
    p99 = {
        name: quantile(values, 0.99)
        for name, values in (("followed", followed), ("stopped", stopped), ("returning", returning))
    }
    return [
        judged(
            "I16",
            {
                "drained": drained,
                "no errors": not writers.errors,
                f"no wait over 10 ms {others[:3] or ''}": not others,
                "nothing lost in silence": verdict.lost == 0,
                "writers wrote": len(followed) > 100,
            },
            {
                "errors": len(writers.errors),
                "lock_waits": len(others),
                "postgres_waits": len(waits) - len(others),
                "backlog": stage.size.backlog,
                **{f"p99_{name}_ms": 1000 * value for name, value in p99.items()},
                "resets": verdict.resets,
            },
            times={
                "no wait over 10 ms for a lock of PostgreSQL's own": len(waits) == len(others),
                "stopped: within 1.1 times": p99["stopped"]
                <= max(1.1 * p99["followed"], p99["followed"] + NOISE_SECONDS),
            },
        )
    ]


async def _measure(writers: Writers, seconds: float) -> list[float]:
    """What each commit of a time took."""
    first = len(writers.waits)
    began = time.monotonic()
    await asyncio.sleep(seconds)
    assert time.monotonic() > began
    return sorted(writers.waits[first:])
