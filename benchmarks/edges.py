"""Edges: nodes that read the database beside as many that follow a relay through NATS.

`python -m benchmarks.edges [--rounds N] [--nodes 1,4,8] [--rate N] [--json FILE]`. One client per node, and
four writers that commit one event at a time. The delay is from the answer to a commit until the handler has
the event. Then one edge whose relay has a stream of JetStream, in a file, and one that is 40 ms from the
broker each way. It needs nats-server. On a machine that others use too, the processor time of PostgreSQL is
the figure to compare.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.machine import options, where, write
from faults.fleet import Fleet
from faults.sizes import TINY
from faults.stage import Cluster, Stage, quantile

SECONDS = 6.0
SETTLED_SECONDS = 1.5
"""Before the measurement: connections are opened, and caches filled."""
TICKS = os.sysconf("SC_CLK_TCK")
ARRANGEMENTS = ("direct", "NATS")
STREAM = "NATS, a stream"
FAR = "NATS at 80 ms"
FAR_SECONDS = 0.04


def main() -> None:
    """Measure each arrangement at each number of nodes, in turn."""
    parser = options("benchmarks.edges", __doc__)
    parser.add_argument("--nodes", default="1,4,8", help="numbers of nodes")
    parser.add_argument("--rate", type=float, default=50.0, help="commits per second")
    chosen = parser.parse_args()
    place = where()
    print(
        f"{place['machine']}; commit {place['commit']}; medians of {chosen.rounds}; {chosen.rate:g} commits/s"
    )
    rows: list[dict[str, float | str]] = []
    for count in map(int, chosen.nodes.split(",")):
        arrangements = (*ARRANGEMENTS, STREAM, FAR) if count == 1 else ARRANGEMENTS
        found = asyncio.run(_rounds(arrangements, count, chosen.rate, chosen.rounds))
        for arrangement, runs in found.items():
            medians = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
            rows.append({"nodes": count, "through": arrangement, **medians})
            figures = "  ".join(f"{name} {value:7.2f}" for name, value in medians.items())
            print(f"{count} nodes, {arrangement:<14} {figures}", flush=True)
    if chosen.json:
        write(chosen.json, {"rate": chosen.rate, "rows": rows})


async def _rounds(
    arrangements: Sequence[str], count: int, rate: float, rounds: int
) -> dict[str, list[dict[str, float]]]:
    found: dict[str, list[dict[str, float]]] = {name: [] for name in arrangements}
    async with Cluster.open() as cluster:
        for number in range(rounds):
            for arrangement in arrangements:
                size = replace(TINY, jetstream=arrangement == STREAM)
                async with Stage.open(size, number, cluster) as stage:
                    found[arrangement].append(await _measure(stage, arrangement, count, rate))
    return found


async def _measure(stage: Stage, arrangement: str, count: int, rate: float) -> dict[str, float]:
    if arrangement == "direct":
        for _ in range(count):
            await stage.serve(dsn=stage.dsn)
        return await _figures(stage, rate)
    async with Fleet.open(stage, relays=1, edges=count) as fleet:
        fleet.way.latency_seconds = FAR_SECONDS if arrangement == FAR else 0.0
        return await _figures(stage, rate)


async def _figures(stage: Stage, rate: float) -> dict[str, float]:
    lanes = [f"lanes.{n}" for n in range(stage.size.lanes)]
    for number, server in enumerate(stage.servers):
        probe = await stage.probe(f"probe {number}", lanes, address=server.address)
        await probe.until_live()
    postmaster = stage.cluster.server.pid
    assert postmaster is not None
    writers = stage.writers(rate=rate, count=4)
    async with writers.writing(only_events=True):
        await asyncio.sleep(SETTLED_SECONDS)
        began, spent, written = time.monotonic(), processor_seconds(postmaster), len(writers.waits)
        await asyncio.sleep(SECONDS)
        ended, spent = time.monotonic(), processor_seconds(postmaster) - spent
        waits = sorted(writers.waits[written:])
    late = stage.latencies(writers, began, ended)
    return {
        "delay_p50_ms": 1000 * quantile(late, 0.5),
        "delay_p99_ms": 1000 * quantile(late, 0.99),
        "commit_p50_ms": 1000 * quantile(waits, 0.5),
        "postgres_ms_per_s": 1000 * spent / (ended - began),
    }


def processor_seconds(postmaster: int) -> float:
    """Return the processor time of a server and of its processes, also those that have ended."""
    total = 0.0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        user, system, ended_user, ended_system = map(int, fields[11:15])
        if int(path.parent.name) == postmaster:
            total += user + system + ended_user + ended_system
        elif int(fields[1]) == postmaster:
            total += user + system
    return total / TICKS


if __name__ == "__main__":
    main()
