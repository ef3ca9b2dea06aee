"""Growth: what an event costs, by how many channels and subscribers there are, and events in the log.

`python -m benchmarks.growth [--rounds N] [--history N] [--json FILE]`. By channels and by subscribers it is
the core that is measured, without sockets (see `benchmarks.fanout`), and each size in a process of its own:
its memory is what the process grew by. By events in the log it is PostgreSQL, in one round (`histories.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.histories import HISTORIES, by_history
from benchmarks.machine import ROOT, options, where, write
from flowcraft.core import answers
from flowcraft.core.bundles import Encoder
from flowcraft.core.counts import Counts
from flowcraft.core.hub import Hub
from flowcraft.core.hub_effects import Outgoing
from flowcraft.cursors import Cursor, Lineage, Snapshot
from flowcraft.records import Batch, Record

CHANNELS = (10, 1_000, 100_000, 1_000_000)
SUBSCRIBERS = (1, 100, 1_000, 20_000)
CHANNELS_OF_A_CLIENT = 100
EVENTS = 3_000
"""Of each measurement, one transaction each."""
PAYLOAD = '{"type":"RunUpdate","status":"running","pad":"' + "x" * 100 + '"}'
LINEAGE, AT = Lineage(1, 1, 0), datetime(2026, 1, 1, tzinfo=UTC)
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Run every size, or the one that a parent process asks for."""
    parser = options("benchmarks.growth", __doc__)
    parser.add_argument("--history", type=int, default=HISTORIES[-1], help="events in the log, at most")
    parser.add_argument("--largest", type=int, default=CHANNELS[-1], help="channels and subscribers, at most")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        what, count = chosen.one
        print(json.dumps(by_channels(int(count)) if what == "channels" else by_subscribers(int(count))))
        return
    print(f"{where()['machine']}; commit {where()['commit']}; medians of {chosen.rounds}", flush=True)
    series: dict[str, dict[int, float]] = {}
    for what, counts in (("channels", CHANNELS), ("subscribers", SUBSCRIBERS)):
        for count in [count for count in counts if count <= chosen.largest]:
            found = [apart(what, count) for _ in range(chosen.rounds)]
            for name in found[0]:
                figure = statistics.median([figures[name] for figures in found])
                series.setdefault(name, {})[count] = figure
                print(f"{name:<60} {count:>12,} {figure:>12,.2f}", flush=True)
    for name, figures in by_history(chosen.history).items():
        series[name] = figures
        for count, figure in figures.items():
            print(f"{name:<60} {count:>12,} {figure:>12,.2f}", flush=True)
    if chosen.json:
        write(chosen.json, {"series": series})


def apart(what: str, count: int) -> dict[str, float]:
    """Measure one size in another process."""
    command = [sys.executable, "-m", "benchmarks.growth", "--one", what, str(count)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def by_channels(count: int) -> dict[str, float]:
    """Many channels, each with one subscriber; a client has a hundred of them."""
    names = [f"runs.{number}" for number in range(count)]
    before = resident_bytes()
    hub = empty_hub()
    for session, first in enumerate(range(0, count, CHANNELS_OF_A_CLIENT)):
        hub.subscriptions.connect(session)
        hub.subscriptions.subscribe(session, tuple(names[first : first + CHANNELS_OF_A_CLIENT]))
    grown = (resident_bytes() - before) / count
    chosen = random.Random(count).choices(names, k=EVENTS)
    return {
        "µs of an event in the core, by channels with a subscriber": microseconds(hub, chosen),
        "bytes of a subscription, by channels": max(0.0, grown),
    }


def by_subscribers(count: int) -> dict[str, float]:
    """One channel with many subscribers."""
    hub = empty_hub()
    for session in range(count):
        hub.subscriptions.connect(session)
        hub.subscriptions.subscribe(session, ("runs.1",))
    taken = microseconds(hub, ["runs.1"] * EVENTS)
    return {
        "µs of an event in the core, by subscribers of its channel": taken,
        "ns of a recipient, by subscribers of its channel": 1000 * taken / count,
    }


def empty_hub() -> Hub:
    """A hub at the beginning of a log."""
    return Hub(Batch((), Cursor(LINEAGE, Snapshot(1)), Snapshot(1), AT))


def microseconds(hub: Hub, channels: list[str]) -> float:
    """Broadcast an event on each channel, and encode its frames; the median of tenths, in microseconds."""
    counts, tenths = Counts(), list[float]()
    size = len(channels) // 10
    for tenth in range(10):
        begun = time.perf_counter()
        for number, channel in enumerate(channels[tenth * size : (tenth + 1) * size], tenth * size + 1):
            records, after = (Record(number, number, channel, PAYLOAD),), Snapshot(number + 1)
            batch = Batch(records, Cursor(LINEAGE, after), after, AT)
            encoder = Encoder(counts)
            for effect in hub.broadcast(batch, 0.0):
                assert isinstance(effect, Outgoing)
                answers.encode(effect, encoder)
        tenths.append((time.perf_counter() - begun) / size)
    return 1e6 * statistics.median(tenths)


def resident_bytes() -> int:
    """The memory of this process."""
    return int(Path("/proc/self/statm").read_text("utf-8").split()[1]) * PAGE_BYTES


if __name__ == "__main__":
    main()
