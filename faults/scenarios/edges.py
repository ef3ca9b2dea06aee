"""Edges: relays and brokers killed and frozen, lines cut, clients that move, a lost primary (I29 to I34)."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import TypeAlias

from nats.aio.client import Client
from nats.js import JetStreamContext

from faults.broker import NatsServer, NoBroker
from faults.fleet import STREAM, TAKEOVER_SECONDS, Fleet
from faults.histories import History, Received, Verdict
from faults.outcomes import Outcome, judged, scenario
from faults.programs import ServerProgram, until
from faults.scenarios.servers import since_the_reset, standby_of, was_reset
from faults.stage import Stage, every
from flowcraft.adapters.postgres.embedded import EmbeddedPostgres

LOST_EVERY = 7
"""Of so many batches one is lost, where some are."""
STALE_SECONDS = 3.2
"""2.5 s without a proof, and a look at the page. Without proofs it would take 3.75 s."""
Run: TypeAlias = Callable[[Stage], Awaitable[list[Outcome]]]


def with_broker(invariant: str) -> Callable[[Run], Run]:
    """Skip a scenario where there is no nats-server."""

    def wrap(run: Run) -> Run:
        @wraps(run)
        async def guarded(stage: Stage) -> list[Outcome]:
            try:
                return await run(stage)
            except NoBroker as error:
                return [Outcome(invariant, False, {}, (str(error),), skipped=True)]

        return guarded

    return wrap


@scenario("I29")
@with_broker("I29")
async def relays_are_killed(stage: Stage) -> list[Outcome]:
    """The relay that publishes is killed again and again, and batches are lost; another one leads."""
    led: set[int] = set()
    took: list[float] = []
    async with Fleet.open(stage) as fleet:
        probes = await stage.probe_all()
        async with stage.writers().writing():
            await asyncio.sleep(0.5)
            fleet.lost.every = LOST_EVERY
            for _ in range(2):
                leading = await fleet.leader()
                led.add(fleet.relays.index(leading))
                await leading.kill()
                began = time.monotonic()
                await fleet.leader()
                took.append(time.monotonic() - began)
                await asyncio.sleep(stage.size.fault_seconds / 4)
                await leading.start()
            fleet.lost.every = 0
        drained = await stage.drain()
        verdict = await stage.verdict()
    return [
        judged(
            "I29",
            {
                **_clean(drained, verdict),
                "both led": led == {0, 1},
                "batches were lost": fleet.lost.dropped > 0,
                "no client lost its connection": sum(probe.connects for probe in probes) == len(probes),
            },
            {**_figures(verdict), "takeover_s": max(took), "batches_lost": fleet.lost.dropped},
            times={f"another leads within {TAKEOVER_SECONDS + 1:g} s": max(took) <= TAKEOVER_SECONDS + 1},
        )
    ]


@scenario("I30")
@with_broker("I30")
async def two_relays_lead_at_once(stage: Stage) -> list[Outcome]:
    """The relay that publishes is frozen until another leads, and goes on then, where it was."""
    duels = 0
    async with Fleet.open(stage) as fleet:
        await stage.probe_all()
        async with stage.writers().writing():
            await asyncio.sleep(0.5)
            for _ in range(2):
                frozen = await fleet.leader()
                frozen.send(signal.SIGSTOP)
                (other,) = [relay for relay in fleet.relays if relay is not frozen]
                duels += await _until_it_leads(other)
                frozen.send(signal.SIGCONT)
                await asyncio.sleep(stage.size.fault_seconds / 4)
            await fleet.leader()  # one of two that lead gives way
        drained = await stage.drain()
        verdict = await stage.verdict()
    return [
        judged(
            "I30",
            {**_clean(drained, verdict), "two led at once": duels == 2},
            {**_figures(verdict), "duels": duels},
        )
    ]


@scenario("I31")
@with_broker("I31")
async def the_broker_dies(stage: Stage) -> list[Outcome]:
    """The broker is killed and started again, and frozen: edges know that they are stale."""
    async with Fleet.open(stage) as fleet:
        probes = await stage.probe_all()
        async with stage.writers().writing():
            await asyncio.sleep(0.5)
            await asyncio.to_thread(fleet.broker.end)
            await asyncio.sleep(stage.size.fault_seconds / 4)
            await asyncio.to_thread(fleet.broker.start)
            await asyncio.gather(*(edge.until(lambda health: bool(health["ready"])) for edge in fleet.edges))
            fleet.broker.freeze()
            stale = await asyncio.gather(*map(_is_stale, fleet.edges))
            fleet.broker.thaw()
            thawed = time.monotonic()
            first = await stage.first_events(probes, thawed, 8)
            await asyncio.sleep(0.5)
        drained = await stage.drain()
        verdict = await stage.verdict()
    return [
        judged(
            "I31",
            {
                **_clean(drained, verdict),
                "edges were stale": all(stale),
            },
            {**_figures(verdict), "recovered_s": max(first)},
            # A stale edge sends no heartbeats, so that clients of this harness look for another one.
            times={"first event within 5 s": max(first) <= 5.0},
        )
    ]


@scenario("I31")
@with_broker("I31")
async def the_stream_is_emptied_and_rolled_back(stage: Stage) -> list[Outcome]:
    """While edges are cut off the stream is emptied, deleted, and put back to an earlier moment."""
    if not stage.size.jetstream:
        return [Outcome("I31", True, {}, skipped=True)]
    async with Fleet.open(stage) as fleet:
        await stage.probe_all()
        pause = stage.size.fault_seconds / 6
        async with stage.writers().writing():
            await asyncio.sleep(pause)
            for lose in (JetStreamContext.purge_stream, JetStreamContext.delete_stream):
                fleet.way.refuse()
                fleet.way.reset()
                await asyncio.sleep(pause)
                async with jetstream_of(fleet.broker) as jetstream:
                    await lose(jetstream, STREAM)
                fleet.way.refuse(False)
                await asyncio.sleep(pause)
            await _until_stored(fleet)
            await asyncio.to_thread(fleet.broker.end)
            kept = fleet.broker.keep("store")
            await asyncio.to_thread(fleet.broker.start)
            await _until_stored(fleet)
            await asyncio.sleep(pause)
            await asyncio.to_thread(fleet.broker.end)
            fleet.broker.restore("store", kept)
            await asyncio.to_thread(fleet.broker.start)
            await _until_stored(fleet)
            fleet.lost.every = LOST_EVERY
            await until(lambda: fleet.lost.dropped > 1, 10)
            fleet.lost.every = 0
        drained = await stage.drain()
        verdict = await stage.verdict()
    return [
        judged(
            "I31",
            {**_clean(drained, verdict), "batches were lost": fleet.lost.dropped > 0},
            {**_figures(verdict), "batches_lost": fleet.lost.dropped},
        )
    ]


@scenario("I32")
@with_broker("I32")
async def lines_to_the_broker_are_cut(stage: Stage) -> list[Outcome]:
    """The lines between edges and broker lose batches, are reset, silenced and slow, one after the other."""
    async with Fleet.open(stage) as fleet:
        await stage.probe_all()
        seconds = stage.size.fault_seconds
        async with stage.writers().writing():
            await asyncio.sleep(0.5)
            fleet.lost.every = LOST_EVERY
            await asyncio.sleep(seconds / 2)
            fleet.lost.every = 0
            resets = await every(0.3, fleet.way.reset, seconds)
            fleet.way.black_hole("up", "down")
            await asyncio.sleep(min(4.0, seconds))
            fleet.way.heal()
            fleet.way.bytes_per_second = 64 * 1024
            await asyncio.sleep(seconds / 2)
            fleet.way.heal()
            await asyncio.sleep(0.5)
        drained = await stage.drain()
        verdict = await stage.verdict()
        accepted = fleet.way.total_accepted
    return [
        judged(
            "I32",
            {
                **_clean(drained, verdict),
                "edges connected again": accepted > len(fleet.edges) + 3,
                "batches were lost": fleet.lost.dropped > 0,
            },
            {
                **_figures(verdict),
                "resets_of_lines": resets,
                "connections": accepted,
                "batches_lost": fleet.lost.dropped,
            },
        )
    ]


@scenario("I33")
@with_broker("I33")
async def clients_move_between_edges_and_nodes(stage: Stage) -> list[Outcome]:
    """Half of the servers read the database, half follow a relay; clients are cut off and resume at any."""
    async with Fleet.open(stage, relays=1) as fleet:
        nodes = [await stage.serve() for _ in range(2)]
        stage.web.upstreams = [
            ("127.0.0.1", s.port) for pair in zip(fleet.edges, nodes, strict=True) for s in pair
        ]
        probes = await stage.probe_all()

        async def cut() -> None:
            stage.web.reset(max(1, len(probes) // 4))
            await asyncio.sleep(0)

        async with stage.writers().writing():
            await asyncio.sleep(0.5)
            await every(0.4, cut, 2 * stage.size.fault_seconds)
            await asyncio.sleep(0.5)
        drained = await stage.drain()
        verdict = await stage.verdict()
        health = [await server.health() for server in [*fleet.edges, *nodes]]
    moved = sum(probe.connects - 1 for probe in probes)
    resumed = [int(one["counts"]["resumes"]) for one in health]
    return [
        judged(
            "I33",
            {
                **_clean(drained, verdict),
                "clients moved": moved >= len(probes),
                "clients resumed everywhere": min(resumed) > 0,
            },
            {**_figures(verdict), "moved": moved},
        )
    ]


@scenario("I34")
@with_broker("I34")
async def a_relay_stays_on_a_lost_primary(stage: Stage) -> list[Outcome]:
    """A standby is promoted while its primary goes on: both have relays, and both have writers."""
    settings = {"max_wal_senders": "4", "wal_keep_size": "64MB"}
    async with (
        stage.alone(settings) as own,
        standby_of(own.cluster) as (standby, replication),
        Fleet.open(own, relays=1) as fleet,
    ):
        probes = await own.probe_all(own.size.lanes)
        writers = own.writers()
        async with writers.writing():
            await asyncio.sleep(0.5)
            replication.black_hole("up", "down")
            await asyncio.sleep(0.5)
        drained = await own.drain()
        before = await own.verdict()
        lost, primary = own.writers(first_version=500_000), own.cluster.server
        async with lost.writing():  # on the primary that no application should use any more
            await _promote(own, standby)
            await fleet.add_relay(own.dsn)
            resets = await asyncio.gather(*(was_reset(probe) for probe in probes))
            began = time.monotonic()
            await asyncio.sleep(own.size.fault_seconds)
        histories = own.histories
        once = all(p.resets["rewound"] == sum(h.subscriber == p.name for h in histories) for p in probes)
        late = sum(_received_of(history, 500_000, began) for history in histories)
        own.histories = [since_the_reset(history) for history in histories]
        async with own.writers(first_version=1_000_000).writing():
            await asyncio.sleep(1)
        drained = await own.drain() and drained
        after = await own.verdict()
        await asyncio.to_thread(primary.close)
    return [
        judged(
            "I34",
            {
                "drained": drained,
                "clean until then": before.ok,
                "every client was reset": all(resets),
                "each subscription once": once,
                "clean since": after.ok and after.deliveries > 0,
                "nothing of the lost primary": late == 0,
                "the lost primary had writers": len(lost.committed) > 20,
            },
            {"rewound": sum(resets), "late": late, "lost_commits": len(lost.committed), "lost": after.lost},
        )
    ]


async def _promote(stage: Stage, standby: EmbeddedPostgres) -> None:
    """Promote a standby; from now on the stage's database is there. Relays of the primary stay on it."""
    await asyncio.to_thread(standby.execute, "select pg_promote()")
    stage.cluster.server = standby


async def _until_it_leads(relay: ServerProgram) -> bool:
    health = await relay.until(lambda health: health["state"] == "leading")
    return bool(health["ready"])


async def _until_stored(fleet: Fleet) -> None:
    """Wait until the relay that leads has its stream."""
    leading = await fleet.leader()
    await leading.until(lambda health: bool(health["stream"]))


@asynccontextmanager
async def jetstream_of(broker: NatsServer) -> AsyncIterator[JetStreamContext]:
    """Lend the API of a broker's streams."""
    client = Client()
    await client.connect(broker.url)
    try:
        yield client.jetstream()  # pyright: ignore[reportUnknownMemberType]
    finally:
        await client.close()


async def _is_stale(edge: ServerProgram) -> bool:
    """Wait until an edge refuses new clients; whether it does in time."""
    health: dict[str, object] = {}

    async def look() -> None:
        while health.get("state") != "stale":
            health.update(await edge.health())
            await asyncio.sleep(0.05)

    try:
        await asyncio.wait_for(look(), STALE_SECONDS)
    except TimeoutError:
        return False
    return True


def _received_of(history: History, first_version: int, after: float) -> int:
    """How many events of the lost primary's writers a handler received after a moment."""
    return sum(
        isinstance(mark, Received) and first_version <= mark.version < 2 * first_version and mark.at > after
        for mark in history.marks
    )


def _clean(drained: bool, verdict: Verdict) -> dict[str, bool]:
    return {
        "drained": drained,
        "nothing lost": verdict.lost == 0,
        "nothing doubled": verdict.doubled == 0,
        "in order": verdict.reordered == 0 and verdict.stale == 0,
        "nothing uncommitted": verdict.phantoms == 0,
        "no reset": verdict.resets == 0,
        "there were events": verdict.events > 50,
    }


def _figures(verdict: Verdict) -> dict[str, int | float | str]:
    return {
        "lost": verdict.lost,
        "doubled": verdict.doubled,
        "reordered": verdict.reordered,
        "resets": verdict.resets,
        "events": verdict.events,
        "deliveries": verdict.deliveries,
    }
