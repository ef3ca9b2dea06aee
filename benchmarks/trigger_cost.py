"""What a trigger costs a writer: medians of updates with and without it, in turn.

Times depend on the load of the machine; CPU time of the writer's session, which Linux counts, depends less.

python -m benchmarks.trigger_cost            prints a table; 40 s
python -m benchmarks.trigger_cost --rows     the same of a channel of rows with a condition
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from datetime import datetime
from pathlib import Path

import asyncpg

from flowcraft import Channels, Event, Table
from flowcraft.adapters.postgres.embedded import EmbeddedPostgres
from flowcraft.adapters.postgres.schema import migrate

ROUNDS = 7
UPDATES = {
    "1 row, a value changed": ("update bench set n = n + 1 where id = 5", 200),
    "1 row, none changed": ("update bench set noise = noise + 1 where id = 5", 200),
    "1,000 rows, values changed": ("update bench set n = n + 1 where id <= 1000", 5),
    "1,000 rows, none changed": ("update bench set noise = noise + 1 where id <= 1000", 5),
}


class BenchUpdate(Event):
    """A row of the table."""

    id: int
    title: str
    n: int
    at: datetime


async def measured(
    connection: asyncpg.Connection[asyncpg.Record], sql: str, times: int
) -> tuple[float, float]:
    """Return the seconds of one update, and those of CPU in the session: each a transaction of its own."""
    begun, used = time.perf_counter(), cpu_seconds(connection)
    for _ in range(times):
        await connection.execute(sql)
    return (time.perf_counter() - begun) / times, (cpu_seconds(connection) - used) / times


def cpu_seconds(connection: asyncpg.Connection[asyncpg.Record]) -> float:
    """Return the CPU time of a session's process; not a number where it is not known."""
    try:
        return int(Path(f"/proc/{connection.get_server_pid()}/schedstat").read_text().split()[0]) / 1e9
    except OSError:
        return float("nan")


async def compare(dsn: str, *, rows: bool) -> None:
    """Measure both in turn, so that a busy machine slows both."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(
        "create table bench (id int primary key, title text, n int, at timestamptz, noise int);"
        "insert into bench select g, 'title ' || g, g, now(), 0 from generate_series(1, 10000) as g;"
        "analyze bench"
    )
    channels = Channels()
    if rows:
        channels.rows("bench_rows", BenchUpdate, table="bench", key="id", where="id > 0")
    else:
        channels.declare("bench_update", BenchUpdate, source=Table("bench"))
    await migrate(connection, channels)
    trigger = await connection.fetchval(
        "select tgname from pg_trigger where tgname like 'flowcraft%\\_update'"
    )
    times = {name: (list[tuple[float, float]](), list[tuple[float, float]]()) for name in UPDATES}
    for _ in range(ROUNDS):
        for name, (sql, count) in UPDATES.items():
            for place, change in enumerate(("disable", "enable")):
                await connection.execute(
                    f"alter table bench {change} trigger {trigger}; truncate flowcraft.event"
                )
                await connection.execute("vacuum bench")
                await measured(connection, sql, 3)
                times[name][place].append(await measured(connection, sql, count))
    print("| update | without, ms | with, ms | ratio | CPU without, ms | CPU with, ms |")
    print("|---|---|---|---|---|---|")
    for name, (without, with_) in times.items():
        ratio = statistics.median(b[0] / a[0] for a, b in zip(without, with_, strict=True))
        took, used = (
            [f"{statistics.median(one[place] for one in all_) * 1e3:.3f}" for all_ in (without, with_)]
            for place in (0, 1)
        )
        print(f"| {name} | {' | '.join(took)} | {ratio:.2f} | {' | '.join(used)} |")
    await connection.close()


def main() -> None:
    """Measure on an embedded PostgreSQL, on this machine's disk, with `fsync` as in production."""
    server = EmbeddedPostgres.start(settings={"fsync": "on", "synchronous_commit": "on"})
    try:
        asyncio.run(compare(server.dsn, rows="--rows" in sys.argv[1:]))
    finally:
        server.close()


if __name__ == "__main__":
    main()
