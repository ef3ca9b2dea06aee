"""Edge cuts: what edges ask a relay after cuts and losses, without and with a stream of JetStream.

`python -m benchmarks.edge_cuts [--rounds N] [--edges N] [--json FILE]`. Edges follow one relay; for some
seconds their lines are reset twice a second, and then every tenth batch is lost. The questions are those that
the relay has answered. It needs nats-server.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import replace

from benchmarks.machine import options, where, write
from faults.fleet import Fleet
from faults.sizes import TINY
from faults.stage import Cluster, Stage, every, quantile

SECONDS = 6.0
CUT_SECONDS = 0.5
LOST_EVERY = 10
RATE = 100.0


def main() -> None:
    """Measure without and with a stream, in turn."""
    parser = options("benchmarks.edge_cuts", __doc__)
    parser.add_argument("--edges", type=int, default=4)
    chosen = parser.parse_args()
    place = where()
    print(f"{place['machine']}; commit {place['commit']}; medians of {chosen.rounds}; {chosen.edges} edges")
    found = asyncio.run(_rounds(chosen.edges, chosen.rounds))
    rows: list[dict[str, float | str]] = []
    for name, runs in found.items():
        medians = {figure: statistics.median(run[figure] for run in runs) for figure in runs[0]}
        rows.append({"through": name, **medians})
        print(f"{name:<10}", "  ".join(f"{figure} {value:.1f}" for figure, value in medians.items()))
    if chosen.json:
        write(chosen.json, {"edges": chosen.edges, "rate": RATE, "rows": rows})


async def _rounds(edges: int, rounds: int) -> dict[str, list[dict[str, float]]]:
    found: dict[str, list[dict[str, float]]] = {"core": [], "a stream": []}
    async with Cluster.open() as cluster:
        for number in range(rounds):
            for name, runs in found.items():
                size = replace(TINY, jetstream=name != "core")
                async with Stage.open(size, number, cluster) as stage:
                    runs.append(await _measure(stage, edges))
    return found


async def _measure(stage: Stage, edges: int) -> dict[str, float]:
    async with Fleet.open(stage, relays=1, edges=edges) as fleet:
        for number, server in enumerate(fleet.edges):
            probe = await stage.probe(f"probe {number}", ["lanes.0"], address=server.address)
            await probe.until_live()
        writers = stage.writers(rate=RATE, count=2)
        async with writers.writing(only_events=True):
            await asyncio.sleep(1)
            began, accepted, asked = time.monotonic(), fleet.way.total_accepted, await _answered(fleet)
            await every(CUT_SECONDS, fleet.way.reset, SECONDS)
            await asyncio.sleep(1)
            cuts, after_cuts = fleet.way.total_accepted - accepted, await _answered(fleet)
            ended = time.monotonic()
            fleet.lost.every = LOST_EVERY
            await asyncio.sleep(SECONDS)
            fleet.lost.every = 0
            after_losses = await _answered(fleet)
        late = stage.latencies(writers, began, ended)
    return {
        "questions_per_100_cuts": 100 * (after_cuts - asked) / max(1, cuts),
        "questions_per_100_lost": 100 * (after_losses - after_cuts) / max(1, fleet.lost.dropped),
        "delay_p50_ms": 1000 * quantile(late, 0.5),
        "delay_p99_ms": 1000 * quantile(late, 0.99),
    }


async def _answered(fleet: Fleet) -> int:
    return sum((await fleet.relays[0].health())["answered"].values())


if __name__ == "__main__":
    main()
