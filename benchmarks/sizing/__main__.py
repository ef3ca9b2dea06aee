"""`python -m benchmarks.sizing [--rounds N] [--json FILE] [--connections N --events N --recipients N]`.

Measures what single things cost here, computes what a load needs (`model`), and checks the model by a
simulation (`simulation`). With `--costs FILE` the costs of an earlier run are used. It needs nats-server.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.machine import options, where, write
from benchmarks.sizing.costs import measure, medians
from benchmarks.sizing.model import Costs, Load, as_json, size
from benchmarks.sizing.simulation import TOLERANCES, checks

LOADS = [
    Load(10_000, 100, 100),
    Load(100_000, 1_000, 100),
    Load(100_000, 10_000, 10),
    Load(1_000_000, 1_000, 1_000),
    Load(1_000_000, 10_000, 100),
    Load(1_000_000, 100_000, 10),
]


def main() -> int:
    """Measure, compute and check; 1 if the simulation differs by more than is stated."""
    parser = options("benchmarks.sizing", __doc__)
    parser.add_argument("--costs", type=Path, help="a result of an earlier run, whose costs are used")
    parser.add_argument("--connections", type=int, help="clients of one more load")
    parser.add_argument("--events", type=float, default=1_000.0, help="its events per second")
    parser.add_argument("--recipients", type=float, default=100.0, help="its recipients of each event")
    chosen = parser.parse_args()
    print(f"{where()['machine']}; commit {where()['commit']}", flush=True)
    if chosen.costs:
        costs = Costs(**json.loads(chosen.costs.read_text("utf-8"))["costs"])
    else:
        costs = medians([asyncio.run(measure()) for _ in range(chosen.rounds)])
    for name, value in as_json(costs).items():
        print(
            f"{name:<20} {value:,.0f} bytes"
            if name.endswith("_bytes")
            else f"{name:<20} {1e6 * value:,.4f} µs"
        )
    more = [Load(chosen.connections, chosen.events, chosen.recipients)] if chosen.connections else []
    rows: list[dict[str, Any]] = []
    for load in [*LOADS, *more]:
        found = size(load, costs)
        rows.append({**asdict(load), **asdict(found), "first": found.first})
        print(f"{load}: {found}, first: {found.first}")
    found_checks = checks(costs, [*LOADS, *more])
    for check in found_checks:
        print(
            f"{check.what}, {check.where}: model {check.modelled:.4g}, simulation {check.simulated:.4g}, "
            f"slowest {check.slowest:.4g}; {check.deviation:.1%} of {TOLERANCES[check.what]:.0%} allowed"
        )
    if chosen.json:
        simulated = [{**asdict(check), "deviation": check.deviation} for check in found_checks]
        write(chosen.json, {"costs": as_json(costs), "rows": rows, "checks": simulated})
    return int(not all(check.holds for check in found_checks))


if __name__ == "__main__":
    sys.exit(main())
