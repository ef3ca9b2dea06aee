"""Deploy: servers replaced one after another under load (I17)."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left

from faults.outcomes import Outcome, judged, scenario
from faults.stage import Stage
from flowcraft import Settings

DRAIN_SECONDS = Settings().drain_seconds
WINDOW_SECONDS = 0.5


@scenario("I17")
async def servers_are_replaced_in_turn(stage: Stage) -> list[Outcome]:
    """Two servers behind one address are restarted in turn while writers write."""
    settings = {"drain_seconds": DRAIN_SECONDS}
    servers = [await stage.serve(settings=settings) for _ in range(2)]
    probes = await stage.probe_all()
    writers = stage.writers()
    shares: list[float] = []
    async with writers.writing():
        await asyncio.sleep(1)
        for server in servers:
            began = time.monotonic()
            await server.stop()
            await server.start()
            await asyncio.sleep(1)
            came = sorted(at for probe in probes for at in probe.opened_at if at > began)
            shares.append(_densest(came) / len(probes))
    drained = await stage.drain()
    verdict = await stage.verdict()
    moved = sum(probe.connects - 1 for probe in probes)
    return [
        judged(
            "I17",
            {
                "drained": drained,
                "nothing lost": verdict.lost == 0,
                "nothing doubled": verdict.doubled == 0,
                "clients moved": moved >= len(probes) / 2,
            },
            {"lost": verdict.lost, "doubled": verdict.doubled, "moved": moved, "densest_share": max(shares)},
            times={"at most a quarter in any half second": max(shares) <= 0.25},
        )
    ]


def _densest(moments: list[float]) -> int:
    """The most that fall into any window."""
    return max((bisect_left(moments, at + WINDOW_SECONDS) - n for n, at in enumerate(moments)), default=0)
