"""Recovery: how soon events flow once a fault has healed, and how soon the dead are found."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Awaitable, Callable, Sequence

from faults.outcomes import Outcome, judged, scenario
from faults.probe import Probe
from faults.programs import ServerProgram, until
from faults.stage import Stage, quantile
from faults.writers import BROADCAST

RECOVERED_SECONDS = 2.0
PARTITION_RECOVERED_SECONDS = 3.0
PARTITION_SECONDS = 10.0
WATCHED_SECONDS = 8.0


@scenario("I9")
async def everything_is_restarted(stage: Stage) -> list[Outcome]:
    """Restarts and kills of PostgreSQL and the server, a frozen server, a partition of the database."""
    server = await stage.serve()
    probes = await stage.probe_all(stage.size.lanes)
    postgres = stage.cluster.server
    writers = stage.writers()
    found: dict[str, list[float]] = {}

    async def measure(name: str, fault: Callable[[], Awaitable[None]]) -> None:
        await fault()
        healed = time.monotonic()
        found[name] = sorted(await stage.first_events(probes, healed, WATCHED_SECONDS))

    async def freeze() -> None:
        server.send(signal.SIGSTOP)
        await asyncio.sleep(3)
        server.send(signal.SIGCONT)

    async def part() -> None:
        stage.wire.black_hole("up", "down")
        await asyncio.sleep(PARTITION_SECONDS)
        stage.wire.heal()

    async with writers.writing():
        await asyncio.sleep(0.5)
        await measure("postgres_restart", lambda: asyncio.to_thread(postgres.restart, "fast"))
        await measure("postgres_crash", lambda: _crash(stage))
        await measure("server_restart", lambda: _restart(server, signal.SIGTERM))
        await measure("server_kill", lambda: _restart(server, signal.SIGKILL))
        await measure("frozen", freeze)
        await measure("partition", part)
    drained = await stage.drain()
    verdict = await stage.verdict()
    limits = {
        name: PARTITION_RECOVERED_SECONDS if name == "partition" else RECOVERED_SECONDS for name in found
    }
    return [
        judged(
            "I9",
            {
                "drained": drained,
                "nothing lost": verdict.lost == 0,
                "nothing doubled": verdict.doubled == 0,
                "all recovered": all(times[-1] < WATCHED_SECONDS for times in found.values()),
            },
            {
                "lost": verdict.lost,
                **{f"{name}_p90_s": quantile(times, 0.9) for name, times in found.items()},
                "worst_s": max(times[-1] for times in found.values()),
            },
            times={
                f"{name} within {limit:g} s": quantile(found[name], 0.9) <= limit
                for name, limit in limits.items()
            },
        )
    ]


async def _crash(stage: Stage) -> None:
    await asyncio.to_thread(stage.cluster.server.kill)
    await asyncio.to_thread(stage.cluster.server.restart)


async def _restart(server: ServerProgram, number: signal.Signals) -> None:
    await server.stop(number)
    await server.start()


@scenario("I19")
async def the_wall_clock_jumps(stage: Stage) -> list[Outcome]:
    """One server lives a day ahead, another an hour behind; no client notices."""
    await stage.serve(damage={"clock_offset_seconds": 86_400.0})
    await stage.serve(damage={"clock_offset_seconds": -3_600.0})
    probes = await stage.probe_all()
    writers = stage.writers()
    async with writers.writing():
        await asyncio.sleep(1)
        stage.web.reset(len(probes) // 2)
        await asyncio.sleep(stage.size.fault_seconds / 2)
        stage.web.reset(len(probes) // 2)
        await asyncio.sleep(stage.size.fault_seconds / 2)
    drained = await stage.drain()
    verdict = await stage.verdict()
    p99 = 1000 * quantile(stage.latencies(writers), 0.99)
    return [
        judged(
            "I19",
            {
                "drained": drained,
                "clean": verdict.ok,
                "no reset": verdict.resets == 0,
                "events": verdict.events > 100,
            },
            {"lost": verdict.lost, "doubled": verdict.doubled, "reordered": verdict.reordered, "p99_ms": p99},
        )
    ]


@scenario("I21")
async def peers_die_without_a_word(stage: Stage) -> list[Outcome]:
    """Black holes each way and both ways, idle and with blocked writes: the server and the clients notice."""
    heartbeat, pong = 1.0, 1.0
    allowed = heartbeat + pong + 1.0
    server = await stage.serve(settings={"heartbeat_seconds": heartbeat, "pong_timeout_seconds": pong})
    found: dict[str, float] = {}
    noticed: dict[str, float] = {}
    for name, directions in (("up", ("up",)), ("down", ("down",)), ("both", ("up", "down"))):
        probe = await stage.probe(name, ["lanes.1"])
        await probe.until_live()
        seconds = await _silence(stage, server, probe, directions)
        found[name], noticed[name] = seconds
    found["blocked"] = await _blocked(stage, server)
    drained = await stage.drain()
    verdict = await stage.verdict()
    return [
        judged(
            "I21",
            {
                "drained": drained,
                "nothing lost": verdict.lost == 0,
                "all were found": max(found.values()) < 10,
            },
            {
                **{f"server_{name}_s": took for name, took in found.items()},
                **{f"client_{name}_s": noticed[name] for name in ("down", "both")},
            },
            times={
                **{f"server, {name}: within {allowed:g} s": took <= allowed for name, took in found.items()},
                **{
                    f"client, {name}: within {2.5 * heartbeat + 1:g} s": noticed[name] <= 2.5 * heartbeat + 1
                    for name in ("down", "both")
                },
            },
        )
    ]


async def _silence(
    stage: Stage, server: ServerProgram, probe: Probe, directions: Sequence[str]
) -> tuple[float, float]:
    """Silence one connection; seconds until the server closed it, and until the client opened another."""
    before = (await server.health())["counts"]["dead_closes"]
    opened = len(probe.opened_at)
    began = time.monotonic()
    for link in stage.web.links[-1:]:
        link.black_hole(*directions)  # type: ignore[arg-type]
    await server.until(lambda health: health["counts"]["dead_closes"] > before)
    seen_by_server = time.monotonic() - began
    await until(lambda: len(probe.opened_at) > opened, 10)
    seen_by_client = time.monotonic() - began
    stage.web.heal()
    await probe.until_live()
    return seen_by_server, seen_by_client


async def _blocked(stage: Stage, server: ServerProgram) -> float:
    """A peer that stopped reading with a full buffer before it: its ping cannot even be written."""
    before = await server.health()
    probe = await stage.probe("blocked", ["bulk_update"])
    await probe.until_live()
    link = stage.web.links[-1]
    link.black_hole("up", "down")
    began = time.monotonic()
    async with stage.connection() as connection:
        for version in range(1, 13):
            await connection.execute(
                BROADCAST, "bulk_update", json.dumps({"row": "b", "version": version, "pad": "x" * 60_000})
            )
    closes = before["counts"]["dead_closes"] + before["counts"]["slow_closes"]
    await server.until(
        lambda health: health["counts"]["dead_closes"] + health["counts"]["slow_closes"] > closes
    )
    took = time.monotonic() - began
    stage.web.heal()
    return took
