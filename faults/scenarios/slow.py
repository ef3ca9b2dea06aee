"""Slow: clients that stop reading, or read a kilobyte a second, beside others that must not notice (I10)."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress

from faults.histories import History, Received
from faults.outcomes import Outcome, judged, scenario
from faults.programs import ServerProgram, until
from faults.proxy import FaultProxy
from faults.stage import Stage
from faults.writers import BROADCAST

STOPPED, THROTTLED = 3, 2
SLOW = STOPPED + THROTTLED
TRICKLE = 1000
"""Bytes per second."""
READERS = 2
"""Of the same channel: on a busy machine something is unsent for them, too."""
BLOCK = "x" * 64_000
FLOOD_PAUSE_SECONDS = 0.0064
MEGABYTE = 1024 * 1024
NOISE_MS = 5.0
LONGEST_FLOOD_SECONDS = 20.0
"""The database lies in memory."""
ASK_SECONDS = 0.05
BUSY_SECONDS = 20.0
"""For an answer of a server that is flooded, on a busy machine."""
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "32768"}
"""The C library gives large blocks back at once: what is measured is held, not kept for the next."""


@scenario("I10")
async def some_clients_do_not_read(stage: Stage) -> list[Outcome]:
    """Ten megabytes a second on one channel; three of its clients stop reading, two read 1 KB/s."""
    server = await stage.serve(settings={"outbox_seconds": 3.0}, environment=GIVE_BACK, dsn=stage.dsn)
    others = await stage.probe_all()
    for n in range(READERS):
        await (await stage.probe(f"reader {n}", ["bulk_update"])).until_live()
    writers = stage.writers()
    flood, seconds = Flood(stage), min(stage.size.fault_seconds, LONGEST_FLOOD_SECONDS)
    async with FaultProxy.open(("127.0.0.1", server.port)) as side_road, writers.writing():
        await asyncio.sleep(0.5)
        began = time.monotonic()
        await flood.run(seconds)
        between = time.monotonic()
        resting = server.resident_bytes()
        slow = [
            await stage.probe(f"slow {n}", ["bulk_update"], address=_address(side_road)) for n in range(SLOW)
        ]
        await asyncio.gather(*(probe.until_live() for probe in slow))
        side_road.bytes_per_second = TRICKLE
        for probe in slow[:STOPPED]:
            probe.stop_reading()
        flooding = asyncio.create_task(flood.run(seconds))
        unsent, held, peak = await _watch(server, flooding)
        ended = time.monotonic()
        with suppress(TimeoutError):  # some are closed only when their outbox is overdue
            await server.until(lambda health: health["counts"]["slow_closes"] >= SLOW)
        closed = (await server.health(BUSY_SECONDS))["counts"]["slow_closes"]
        for probe in slow:
            probe.resume_reading()
        side_road.heal()
        drained = await stage.drain(120)
    after = await _settled(server, resting)
    verdict = await stage.verdict()
    quiet = 1000 * stage.usual_p99(writers, began, between)
    beside = 1000 * stage.usual_p99(writers, between, ended)
    return [
        judged(
            "I10",
            {
                "drained": drained,
                "nothing lost": verdict.lost == 0,
                "all slow ones closed": closed >= SLOW,
                "memory returns": after - resting <= 8 * MEGABYTE,
                "others were there": len(others) > 0,
            },
            {
                "others_p99_ms": beside,
                "before_p99_ms": quiet,
                "closed": closed,
                "unsent_mb": unsent / MEGABYTE,
                "held_mb": (held - resting) / MEGABYTE,
                "resuming_mb": (peak - resting) / MEGABYTE,
                "left_mb": (after - resting) / MEGABYTE,
                "mb_per_s": flood.rate / 1e6,
                "lost": verdict.lost,
            },
            # On a busy machine the log is read late, and more at once: held once, and unsent for each client.
            times={
                "at most 2 MiB unsent for each": unsent <= (SLOW + READERS) * 2 * MEGABYTE,
                "others within 1.2 times": beside <= max(1.2 * quiet, quiet + NOISE_MS),
                "at most 2 MiB held for each": held - resting <= SLOW * 2 * MEGABYTE,
            },
        )
    ]


class Flood:
    """Large events on one channel."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._version = 0
        self._seconds = 0.0

    @property
    def rate(self) -> float:
        """Bytes per second."""
        return self._version * len(BLOCK) / self._seconds

    async def run(self, seconds: float) -> None:
        """Write for a time."""
        began = time.monotonic()
        async with self._stage.connection() as connection:
            while (now := time.monotonic()) < began + seconds:
                self._version += 1
                payload = json.dumps({"row": "bulk", "version": self._version, "pad": BLOCK})
                await connection.execute(BROADCAST, "bulk_update", payload)
                await asyncio.sleep(max(0.0, FLOOD_PAUSE_SECONDS - (time.monotonic() - now)))
        self._seconds += time.monotonic() - began


def _address(way: FaultProxy) -> str:
    return f"ws://127.0.0.1:{way.port}/realtime"


async def _watch(server: ServerProgram, task: asyncio.Task[None]) -> tuple[int, int, int]:
    """The most unsent bytes and memory until the first slow client is closed, and memory until the end."""
    unsent = held = peak = 0
    closed, ask_at = False, time.monotonic()
    while not task.done():
        peak = max(peak, server.resident_bytes())
        if not closed:
            held = peak
            if time.monotonic() >= ask_at:  # to answer costs the server time, which is measured here
                health = await server.health(BUSY_SECONDS)
                unsent = max(unsent, health["outbox_bytes"])
                closed = health["counts"]["slow_closes"] > 0
                ask_at += ASK_SECONDS
        await asyncio.wait([task], timeout=0.02)
    await task
    return unsent, held, peak


async def _settled(server: ServerProgram, resting: int) -> int:
    """The memory it holds once it has stopped falling, or has come back to where it was."""
    lowest = server.resident_bytes()
    end = time.monotonic() + 3
    while lowest > resting and time.monotonic() < end:
        await asyncio.sleep(0.1)
        lowest = min(lowest, server.resident_bytes())
    return lowest


@scenario("I10")
async def a_slow_dashboard_gets_the_latest(stage: Stage) -> list[Outcome]:
    """A conflated channel keeps the latest per key for a slow client, which ends up to date."""
    server = await stage.serve()
    before = await server.health()
    async with FaultProxy.open(("127.0.0.1", server.port)) as short_road:
        # Through the small buffers of the proxy: the kernel's own grow until they swallow megabytes.
        slow = await stage.probe("slow dashboard", address=_address(short_road))
        history = slow.subscribe("dashboard")
        fast = await stage.probe("fast dashboard")
        all_of_it = fast.subscribe("dashboard")
        await asyncio.gather(slow.until_live(), fast.until_live())
        slow.stop_reading()
        rows, versions = 10, 100
        async with stage.connection() as connection:
            for version in range(1, versions + 1):
                for row in range(rows):
                    change = {"row": row, "version": version, "pad": BLOCK[:20_000]}
                    await connection.execute(BROADCAST, "dashboard", json.dumps(change))
                # However busy the machine is, this one keeps up.
                await _until_received(all_of_it, rows * version)
        slow.resume_reading()
        drained = await stage.drain()
    after = await server.health()
    received = [mark for mark in history.marks if isinstance(mark, Received)]
    last = {mark.row: mark.version for mark in received}
    all_received = _received(all_of_it)
    return [
        judged(
            "I10",
            {
                "drained": drained,
                "up to date": last == dict.fromkeys(range(rows), versions),
                "spared": len(received) < rows * versions / 2,
                "not closed": after["counts"]["slow_closes"] == before["counts"]["slow_closes"]
                and slow.connects == 1,
                "one that keeps up gets all": all_received == rows * versions,
            },
            {"conflated_from": rows * versions, "conflated_to": len(received)},
        )
    ]


async def _until_received(history: History, count: int) -> None:
    await until(lambda: _received(history) >= count, 20, every=0.002)


def _received(history: History) -> int:
    return sum(isinstance(mark, Received) for mark in history.marks)
