"""Order and latency: hot rows under many writers, one transaction left open, and a quiet day (I3, I24)."""

from __future__ import annotations

import asyncio
import time

from faults.outcomes import Outcome, judged, scenario
from faults.stage import Stage, quantile

OPEN_SECONDS = 5.0


@scenario("I24")
async def a_day_without_faults(stage: Stage) -> list[Outcome]:
    """1,000 events a second to 100 subscribers, nothing broken."""
    await stage.serve()
    await stage.probe_all(100)
    writers = stage.writers(rate=1000, count=4)
    began = time.monotonic()
    async with writers.writing(only_events=True):
        await asyncio.sleep(stage.size.fault_seconds + 1)
    seconds = time.monotonic() - began
    drained = await stage.drain()
    verdict = await stage.verdict()
    late = stage.latencies(writers, after=began + 1)
    p50, p99 = 1000 * quantile(late, 0.5), 1000 * quantile(late, 0.99)
    rate = verdict.events / seconds
    return [
        judged(
            "I24",
            {
                "drained": drained,
                "clean": verdict.ok,
            },
            {"p50_ms": p50, "p99_ms": p99, "rate": rate, "deliveries": verdict.deliveries},
            times={
                "the rate was reached": rate >= 800,
                "p50 at most 5 ms": p50 <= 5,
                "p99 at most 25 ms": p99 <= 25,
            },
        )
    ]


@scenario("I3")
async def one_transaction_stays_open(stage: Stage) -> list[Outcome]:
    """Eight writers on shared hot rows, and one early transaction that commits five seconds later."""
    await stage.serve()
    await stage.probe_all()
    writers = stage.writers()
    async with writers.writing(), stage.connection() as connection:
        await asyncio.sleep(0.5)
        transaction = connection.transaction()
        await transaction.start()
        for lane in range(3):
            await connection.execute(
                'select flowcraft.broadcast($1, \'{"row":"patient","version":1,"pad":""}\')', f"lanes.{lane}"
            )
        opened = time.monotonic()
        await asyncio.sleep(OPEN_SECONDS)
        closed = time.monotonic()
        await transaction.commit()
    drained = await stage.drain()
    verdict = await stage.verdict()
    during = stage.latencies(writers, opened, closed)
    p99 = 1000 * quantile(during, 0.99)
    return [
        judged(
            "I3",
            {
                "drained": drained,
                "in order": verdict.reordered == 0,
                "last is the state": verdict.stale == 0,
                "nothing lost": verdict.lost == 0,
                "others were not held up": p99 < 1000 * OPEN_SECONDS / 2,
            },
            {
                "reordered": verdict.reordered,
                "stale": verdict.stale,
                "events": verdict.events,
                "others_p99_ms": p99,
            },
            times={"others within 50 ms": p99 <= 50},
        )
    ]
