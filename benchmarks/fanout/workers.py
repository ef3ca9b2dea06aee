"""What a second worker brings: `python -m benchmarks.fanout.workers [--rounds N] [--json FILE]`.

PostgreSQL, the workers and the load client share all cores; a round ends when every client has every event.
"""

from __future__ import annotations

import statistics
import sys

from benchmarks.fanout.measure import Load, measure, prepare
from benchmarks.fanout.subjects import WORKERS
from benchmarks.machine import options, where, write

LOAD = Load(clients=5_000, burst=10, seconds=3.0)


def main() -> int:
    """Measure one worker and two, in turns."""
    given = options("benchmarks.fanout.workers", __doc__).parse_args()
    prepare(LOAD.clients)
    one, two = WORKERS
    found = [
        (measure(one, LOAD).messages_per_s, measure(two, LOAD).messages_per_s) for _ in range(given.rounds)
    ]
    speeds = [statistics.median(column) for column in zip(*found, strict=True)]
    ratio = statistics.median(b / a for a, b in found)
    print("commit {commit}, {machine}".format_map(where()))
    print(
        f"{LOAD}: {speeds[0]:,.0f} messages/s with one worker, {speeds[1]:,.0f} with two, {ratio:.2f} times"
    )
    if given.json:
        write(given.json, {"load": str(LOAD), "messages_per_s": speeds, "ratio": ratio, "rounds": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
