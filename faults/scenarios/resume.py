"""Resume: races with `subscribed`, states that go on as streams, any cursor, and a herd."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter, defaultdict
from dataclasses import replace

from faults.herd import Herd
from faults.histories import Ended, History, Received
from faults.node_host import NodeHost
from faults.outcomes import Outcome, judged, scenario
from faults.programs import ServerProgram
from faults.stage import Stage, quantile
from faults.talk import Talk
from flowcraft.cursors import Cursor, Snapshot
from flowcraft.records import Record

STATE = "select json_object_agg(id, version)::text as state, flowcraft.cursor() as cursor from items"
PAST = """
select flowcraft.broadcast('lanes.' || lane, json_build_object('row', 'past', 'version', n, 'pad', ''))
from generate_series($1::int, $2::int) as n, generate_series(0, $3::int - 1) as lane
"""
RESUMED_EVENTS = 160
"""By those that have been away the longest; 100 on the average."""
POSITIONS = 4
EXISTING = 100
FEW_READS, CLIENTS_A_READ = 10, 20
"""The longer a busy machine takes to let a herd in, the more reads there are, with fewer clients each."""
AT_ONCE = 3
STATE_RATE = 400
DISTANT_SECONDS = 0.02
LOADING_SECONDS = 0.2
"""From a page's state to its stream, at most."""
TALKS = 8
REAL_CLIENTS = 2


@scenario("I6")
async def commits_race_with_the_reply(stage: Stage) -> list[Outcome]:
    """Subscribe while others commit, again and again; what came after the reply's position must come."""
    await stage.serve()
    probe = await stage.probe("racer")
    await probe.until_open()
    writers = stage.writers(rate=2 * stage.size.rate)
    async with writers.writing():
        for race in range(stage.size.races):
            lane = f"lanes.{race % 2}"
            history = probe.subscribe(lane)
            stage.histories.append(history)
            await probe.until_live()
            await asyncio.sleep(stage.chance.uniform(0, 0.01))
            probe.unsubscribe(lane)
    drained = await stage.drain()
    last = [probe.subscribe(f"lanes.{n}") for n in range(stage.size.lanes)]
    stage.histories += last
    async with writers.writing():
        await probe.until_live()
        await asyncio.sleep(0.3)
    drained = await stage.drain() and drained
    verdict = await stage.verdict()
    return [
        judged(
            "I6",
            {
                "drained": drained,
                "nothing missing": verdict.lost == 0,
                "nothing twice": verdict.doubled == 0,
                "nothing late": verdict.late == 0,
                "events were received": verdict.deliveries > stage.size.races / 10,
            },
            {"missing": verdict.lost, "races": stage.size.races, "deliveries": verdict.deliveries},
        )
    ]


@scenario("I7")
async def states_continue_as_streams(stage: Stage) -> list[Outcome]:
    """Load a state with its cursor, stream from there, while writers and restarts go on; then compare.

    One server answers from memory; from the other a stream begins with a read, while others commit. Some
    connections to the database are 20 ms longer than others, so that a read may be older or newer than what
    comes live.
    """
    servers = [await stage.serve(), await stage.serve(settings={"recent_events": 1})]
    writers = stage.writers(rate=STATE_RATE)
    states: list[tuple[dict[str, int], History]] = []

    async def hydrate(number: int, host: NodeHost) -> None:
        async with stage.connection() as connection:
            row = await connection.fetchrow(STATE)
        assert row is not None
        name, since = f"state {number}", Cursor.parse(row["cursor"])
        await asyncio.sleep(stage.chance.uniform(0, LOADING_SECONDS))
        if number < REAL_CLIENTS:
            await host.open_client(name, stage.address)
            history = await host.follow(name, "item_update", since)
        else:
            history = (await stage.probe(name)).subscribe("item_update", since)
        stage.histories.append(history)
        states.append((json.loads(row["state"]), history))
        for link in stage.wire.links:
            link.latency_seconds = stage.chance.choice([0, DISTANT_SECONDS])

    async with NodeHost.open(fresh=stage.cursor) as host:
        async with writers.writing():
            for number in range(stage.size.states // AT_ONCE):
                await asyncio.gather(*(hydrate(AT_ONCE * number + n, host) for n in range(AT_ONCE)))
                if number % 10 == 5:
                    server = servers[number // 10 % 2]
                    await (server.kill() if number % 40 < 20 else server.stop())
                    await server.start()
        drained = await stage.drain() and await host.drain(await stage.commit_marker())
    async with stage.connection() as connection:
        row = await connection.fetchrow(STATE)
    assert row is not None
    truth = json.loads(row["state"])
    wrong = sum(_applied(state, history) != truth for state, history in states)
    verdict = await stage.verdict()
    return [
        judged(
            "I7",
            {
                "drained": drained,
                "states are the database's": wrong == 0,
                "nothing lost": verdict.lost == 0,
                "nothing twice": verdict.doubled == 0,
                "rows changed": sum(truth.values()) > len(states),
            },
            {
                "differences": wrong,
                "states": len(states),
                "doubled": verdict.doubled,
                "events": verdict.events,
            },
        )
    ]


def _applied(state: dict[str, int], history: History) -> dict[str, int]:
    """The state with its stream; a version that does not follow on the last one shows as a difference."""
    applied = dict(state)
    for mark in history.marks:
        if isinstance(mark, Received):
            follows = applied[str(mark.row)] + 1 == mark.version
            applied[str(mark.row)] = mark.version if follows else -1_000_000
    return applied


@scenario("I8")
async def any_cursor_is_answered(stage: Stage) -> list[Outcome]:
    """Cursors old, new, ahead, foreign, expired and garbled: each gets a model's answer, never silence."""
    servers = [await stage.serve(), await stage.serve(settings={"recent_bytes": 1})]
    writers = stage.writers(rate=2 * stage.size.rate)
    async with writers.writing():
        await asyncio.sleep(1.0)
        async with stage.connection() as connection:
            old = await connection.fetchval("select pg_snapshot_xmin(pg_current_snapshot())::text")
            trimmed = await stage.oracle()
            await connection.execute("select flowcraft.trim($1::text::xid8)", old)
            floor = await connection.fetchval("select floor::text::bigint from flowcraft.position()")
        await asyncio.sleep(1.0)
    log = await stage.oracle()
    # By id, as `log` is: what was removed is not always older than what a transaction held back.
    all_of_it = sorted({*trimmed, *log}, key=lambda record: record.id)
    kept, remembered = _by_channel(log), _by_channel(all_of_it)
    here = await stage.cursor()
    chance = random.Random(stage.seed)
    cursors = [_any_cursor(chance, here, floor) for _ in range(stage.size.cursors)]
    wrong: list[str] = []

    async def ask(server: ServerProgram, share: list[tuple[str, str | None]]) -> None:
        async with Talk.open(server.address) as talk:
            for number, (text, expected) in enumerate(share):
                lane = f"lanes.{number % stage.size.lanes}"
                reason, replayed = await talk.resume(lane, text)
                answer = reason, sorted(replayed)
                right = [(expected, [] if expected else _owed(text, kept[lane]))]
                if expected == "expired":  # a server may remember what the log does not
                    right.append((None, _owed(text, remembered[lane])))
                if answer not in right:
                    wrong.append(f"{text}: expected {expected or 'resumed'}, got {reason} {len(replayed)}")

    await asyncio.gather(*(ask(servers[n % 2], cursors[n::TALKS]) for n in range(TALKS)))
    kinds = Counter(expected or "resumed" for _, expected in cursors)
    ready = all([(await server.health())["ready"] for server in servers])
    return [
        judged(
            "I8",
            {
                f"every answer is explained {wrong[:5] or ''}": not wrong,
                "cursors of each kind": len(kinds) == 5,
                "servers are well": ready,
            },
            {"cursors": len(cursors), "unexplained": len(wrong), **kinds},
        )
    ]


def _any_cursor(chance: random.Random, here: Cursor, floor: int) -> tuple[str, str | None]:
    """A cursor, and the reason with which it has to be refused, if any."""
    kind = chance.choice(["ok", "ok", "ok", "expired", "ahead", "lineage", "system", "garbled"])
    xmax = chance.randint(floor, here.snapshot.xmax)
    xip = frozenset(chance.sample(range(floor, xmax), min(chance.randint(0, 3), xmax - floor)))
    cursor = replace(here, snapshot=Snapshot(xmax, xip))
    lineage = here.lineage
    match kind:
        case "expired":
            return str(replace(cursor, snapshot=Snapshot(chance.randint(3, floor - 1)))), "expired"
        case "ahead":
            return str(
                replace(cursor, snapshot=Snapshot(here.snapshot.xmax + chance.randint(10**6, 10**12)))
            ), "rewound"
        case "lineage":
            later = replace(
                lineage,
                timeline=lineage.timeline + chance.choice([0, 1]),
                generation=lineage.generation + 1,
            )
            return str(replace(cursor, lineage=later)), "rewound"
        case "system":
            other = replace(lineage, system=lineage.system + 1)
            return str(replace(cursor, lineage=other)), "other_database"
        case "garbled":
            text = str(cursor)
            cut = chance.randrange(len(text))
            return text[:cut] + chance.choice("x:; é") + text[cut:], "malformed"
        case _:
            return str(cursor), None


def _owed(text: str, of_channel: list[Record]) -> list[int]:
    cursor = Cursor.parse(text)
    return [record.id for record in of_channel if not cursor.covers(record.xid)]


def _by_channel(log: list[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = defaultdict(list)
    for record in log:
        found[record.channel].append(record)
    return found


@scenario("I18", "I2")
async def a_herd_comes_back(stage: Stage) -> list[Outcome]:
    """Thousands connect at once and resume a hundred events each, while others go on living."""
    server = await stage.serve(settings={"recent_events": 50})
    existing = [
        await stage.probe(f"existing {n}", [f"lanes.{n % stage.size.lanes}"]) for n in range(EXISTING)
    ]
    await asyncio.gather(*(probe.until_live() for probe in existing))
    since: list[Cursor] = []
    for first in range(1, RESUMED_EVENTS + 1, RESUMED_EVENTS // POSITIONS):
        since.append(await stage.cursor())
        async with stage.connection() as connection:
            last = first + RESUMED_EVENTS // POSITIONS - 1
            await connection.execute(PAST, first, last, stage.size.lanes)
    reads = (await server.health())["counts"]["replay_reads"]
    writers = stage.writers(rate=50, count=2)
    herd = Herd.open(
        server.address,
        count=stage.size.storm,
        lanes=stage.size.lanes,
        since=since,
        seed=stage.seed,
        folder=stage.folder,
    )
    async with writers.writing(only_events=True), herd as newcomers:
        began = time.monotonic()
        took = await newcomers.until_live()
        ended = time.monotonic()
        histories, resumed = await newcomers.settle(await stage.commit_marker())
    reads = (await server.health())["counts"]["replay_reads"] - reads
    drained = await stage.drain(30)
    existing_p99 = 1000 * quantile(stage.latencies(writers, began, ended), 0.99)
    stage.histories += [_until_now(history) for history in histories]
    verdict = await stage.verdict()
    return [
        judged(
            "I18",
            {
                "drained": drained,
                "all resumed": resumed == stage.size.storm,
                "nothing lost": verdict.lost == 0,
                "queries are shared": reads <= max(FEW_READS, stage.size.storm // CLIENTS_A_READ),
            },
            {
                "clients": stage.size.storm,
                "resumed": resumed,
                "lost": verdict.lost,
                "seconds": took,
                "existing_p99_ms": existing_p99,
                "queries": reads,
            },
            times={
                "existing clients within 250 ms": existing_p99 <= 250,
                "a handful of queries": reads <= FEW_READS,
            },
        ),
        judged(
            "I2",
            {"nothing doubled": verdict.doubled == 0},
            {"doubled": verdict.doubled, "deliveries": verdict.deliveries},
        ),
    ]


def _until_now(history: History) -> History:
    """It ended with its process; what it had not had by then, it was not owed."""
    history.marks.append(Ended(time.monotonic()))
    return history
