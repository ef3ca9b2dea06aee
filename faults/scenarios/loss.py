"""Loss: backends terminated, sockets reset and silenced, servers killed, notifications withheld."""

from __future__ import annotations

import asyncio
import time

from faults.histories import Verdict
from faults.node_host import NodeHost
from faults.outcomes import Outcome, judged, scenario
from faults.programs import ServerProgram
from faults.stage import Stage, every, quantile
from faults.writers import Writers

REAL_CLIENTS = 2

TERMINATE = """
select count(pg_terminate_backend(pid)) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and application_name like 'flowcraft%'
"""


@scenario("I1", "I2", "I3", "I5")
async def everything_breaks_at_once(stage: Stage) -> list[Outcome]:
    """Relay and listener terminated each second, clients reset and silenced, the server killed."""
    server = await stage.serve()
    probes = await stage.probe_all()
    writers = stage.writers()
    async with NodeHost.open() as host:
        await _follow_in_node(stage, host)
        terminated = await _break_everything(stage, server, writers)
        drained = await stage.drain() and await host.drain(await stage.commit_marker())
    verdict = await stage.verdict()
    connects = sum(probe.connects for probe in probes)
    return [
        judged(
            "I1",
            {
                "drained": drained,
                "nothing lost": verdict.lost == 0,
                "no reset": verdict.resets == 0,
                "backends were terminated": terminated > 3,
                "clients reconnected": connects > 2 * len(probes),
            },
            {**_figures(verdict), "terminated": terminated, "reconnects": connects - len(probes)},
        ),
        judged(
            "I2",
            {"nothing doubled": verdict.doubled == 0},
            {"doubled": verdict.doubled, "deliveries": verdict.deliveries},
        ),
        judged(
            "I3",
            {"in order": verdict.reordered == 0, "last is the state": verdict.stale == 0},
            {"reordered": verdict.reordered, "stale": verdict.stale},
        ),
        judged(
            "I5",
            {
                "nothing uncommitted": verdict.phantoms == 0,
                "some rolled back": writers.kinds["rolled back"] > 0,
            },
            {"phantoms": verdict.phantoms, "rolled_back": writers.kinds["rolled back"]},
        ),
    ]


async def _follow_in_node(stage: Stage, host: NodeHost) -> None:
    """Real clients, each on a lane and on the hot rows."""
    since = await stage.cursor()
    for number in range(REAL_CLIENTS):
        name = f"node {number}"
        await host.open_client(name, stage.address)
        for channel in (f"lanes.{number}", "item_update"):
            stage.histories.append(await host.follow(name, channel, since))


async def _break_everything(stage: Stage, server: ServerProgram, writers: Writers) -> int:
    """One kind of fault after the other, while others write; how many backends were terminated."""
    terminated = 0

    async def terminate() -> None:
        nonlocal terminated
        async with stage.connection() as connection:
            terminated += await connection.fetchval(TERMINATE)

    async def break_clients() -> None:
        stage.web.reset(max(1, len(stage.probes) // 10))
        for link in stage.chance.sample(stage.web.links, min(3, len(stage.web.links))):
            link.black_hole("up", "down")
        await asyncio.sleep(0)

    async with writers.writing():
        await asyncio.sleep(0.5)
        await every(1.0, terminate, stage.size.fault_seconds)
        await every(0.5, break_clients, stage.size.fault_seconds)
        stage.web.heal()
        for _ in range(2):
            await server.kill()
            await server.start()
            await asyncio.sleep(0.5)
        await asyncio.sleep(0.5)
    return terminated


@scenario("I1")
async def notifications_are_withheld(stage: Stage) -> list[Outcome]:
    """No NOTIFY comes through: the safety poll has to find what was not notified."""
    await stage.serve()
    probes = await stage.probe_all(stage.size.lanes)
    stage.without_notifications.active = True
    writers = stage.writers(rate=3.0, count=2)
    async with writers.writing():
        await asyncio.sleep(stage.size.fault_seconds)
    drained = await stage.drain()
    verdict = await stage.verdict()
    late = stage.latencies(writers)
    return [
        judged(
            "I1",
            {
                "drained": drained,
                "nothing lost": verdict.lost == 0,
                "the poll was needed": quantile(late, 0.9) > 0.1,
                "there were subscribers": len(probes) > 0,
            },
            {**_figures(verdict), "latest_ms": 1000 * quantile(late, 1.0)},
            times={"delivered within 1 s": quantile(late, 1.0) <= 1.0},
        )
    ]


@scenario("I4", "I2")
async def frames_are_lost_inside_the_server(stage: Stage) -> list[Outcome]:
    """The server loses events and whole groups, and sends some twice; clients notice by the counts."""
    # On two servers: the count of a heartbeat is not received by a client that another damage has closed.
    servers = [
        await stage.serve(damage={"lose_event": 0.02, "repeat_group": 0.01}),
        await stage.serve(damage={"lose_group": 0.01}),
    ]
    probes = await stage.probe_all(stage.size.lanes)
    writers = stage.writers()
    async with writers.writing():
        await asyncio.sleep(stage.size.fault_seconds)
    last = time.monotonic()
    drained = await stage.drain()
    noticed_after = time.monotonic() - last
    await asyncio.sleep(1.2)  # one heartbeat more: what the last group lost is noticed by it
    drained = drained and await stage.drain()
    verdict = await stage.verdict()
    lost = {
        kind: sum(len(s.damages(kind)) for s in servers)
        for kind in ("lose_event", "lose_group", "repeat_group")
    }
    mismatches = sum(probe.mismatches for probe in probes)
    return [
        judged(
            "I4",
            {
                "drained": drained,
                "all repaired": verdict.lost == 0,
                "some events were lost": lost["lose_event"] > 0,
                "some groups were lost": lost["lose_group"] > 0,
                "clients noticed": mismatches > 3,
            },
            {"lost": verdict.lost, "noticed": mismatches, **lost, "drained_s": noticed_after},
        ),
        judged(
            "I2",
            {"nothing doubled": verdict.doubled == 0, "some groups were repeated": lost["repeat_group"] > 0},
            {"doubled": verdict.doubled, "repeated": lost["repeat_group"]},
        ),
    ]


def _figures(verdict: Verdict) -> dict[str, int]:
    return {
        "lost": verdict.lost,
        "doubled": verdict.doubled,
        "reordered": verdict.reordered,
        "events": verdict.events,
        "deliveries": verdict.deliveries,
    }
