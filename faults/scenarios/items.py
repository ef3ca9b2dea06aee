"""Items: one that is large or broken stops no other (I36), and no write fails through us (I37)."""

from __future__ import annotations

import asyncio
import time

import asyncpg

from faults.outcomes import Outcome, judged, scenario
from faults.stage import Stage
from faults.talk import Talk

SLOW_BYTES_PER_SECOND = 1_500_000.0
LARGE_ROWS, LARGE_BYTES = 40_000, 200
"""About 13 MB: 9 s on the slow line, more than the 5 s after which a silent database counts as gone."""
LARGE = """
insert into flowcraft.event (channel, payload)
select 'bulk_update', format('{"type":"Change","row":"large","version":%s,"pad":"%s"}', n, repeat('x', $2))
from generate_series(1, $1) as n
"""
PATIENT_HEARTBEAT_SECONDS = 10.0
"""Clients wait 2.5 of these: longer than three reads take to time out, after which the server gives up."""
BROKEN = "insert into flowcraft.event (channel, payload) values ('fill_update', '{\"row\": nothing')"
BEYOND = "9223372036854775808"


@scenario("I36")
async def one_item_is_large_and_one_is_broken(stage: Stage) -> list[Outcome]:
    """One transaction larger than the line, a payload that is no JSON, and cursors beyond all numbers."""
    server = await stage.serve(settings={"heartbeat_seconds": PATIENT_HEARTBEAT_SECONDS})
    await stage.probe_all(stage.size.lanes)
    large = await stage.probe("large", ["bulk_update"])
    await large.until_live()
    writers = stage.writers(rate=20, count=2)
    stage.wire.bytes_per_second = SLOW_BYTES_PER_SECOND
    began = time.monotonic()
    async with writers.writing(only_events=True):
        async with stage.connection() as connection:
            await connection.execute(BROKEN)
            await connection.execute(LARGE, LARGE_ROWS, LARGE_BYTES)
            await connection.execute(BROKEN)
        async with Talk.open(server.address) as talk:
            here = str(await stage.cursor())
            answers = [
                await talk.resume("lanes.0", text)
                for text in (BEYOND, here.replace("/1.0/", f"/1.0/{BEYOND}"))
            ]
        await asyncio.sleep(1.0)
    drained = await stage.drain(60)
    verdict = await stage.verdict()
    return [
        judged(
            "I36",
            {
                "drained": drained,
                "nothing lost": verdict.lost == 0,
                "nothing doubled": verdict.doubled == 0,
                "nothing reordered": verdict.reordered == 0,
                "no reset for what can be delivered": verdict.resets == 0,
                "a cursor beyond all numbers is malformed": [a[0] for a in answers] == ["malformed"] * 2,
                "writers wrote": not writers.errors,
            },
            {
                "lost": verdict.lost,
                "doubled": verdict.doubled,
                "resets": verdict.resets,
                "rows": LARGE_ROWS,
                "seconds": time.monotonic() - began,
            },
        )
    ]


CHANGE = "update items set version = version + 1 where id = 1"
WRITES: dict[str, tuple[str, ...]] = {
    "prepared": ("begin", CHANGE, "prepare transaction 'mine'", "commit prepared 'mine'"),
    "prepared broadcast": (
        "begin",
        "select flowcraft.broadcast('fill_update', '1')",
        "select flowcraft.broadcast_ephemeral('fill_update', '2')",
        "prepare transaction 'mine'",
        "commit prepared 'mine'",
    ),
    "output settings": (
        "set datestyle = 'SQL, DMY'; set intervalstyle = 'sql_standard'; set timezone = 'America/St_Johns'",
        "set bytea_output = 'escape'; set extra_float_digits = -15; set standard_conforming_strings = off",
        CHANGE,
    ),
    "serializable": ("begin isolation level serializable", CHANGE, "commit"),
    "foreign path": ("set search_path = ''", CHANGE.replace("items", "public.items")),
    "restricted": ("set row_security = off; set quote_all_identifiers = on; set jit_above_cost = 0", CHANGE),
    "generic plans": ("set plan_cache_mode = force_generic_plan; set enable_indexscan = off", CHANGE),
    "strict functions": (
        "set plpgsql.extra_errors = 'all'; set plpgsql.variable_conflict = 'use_column'",
        CHANGE,
    ),
    "renamed column": (
        "alter table items rename column pad to padding",
        CHANGE,
        "alter table items rename column padding to pad",
    ),
    "dropped column": (
        "alter table items drop column pad",
        CHANGE,
        "alter table items add column pad text not null default ''",
    ),
    "renamed table": (
        "alter table items rename to things",
        CHANGE.replace("items", "things"),
        "alter table things rename to items",
    ),
    "emptied": ("begin", "truncate items", "rollback"),
}


@scenario("I37")
async def the_application_writes_as_it_likes(stage: Stage) -> list[Outcome]:
    """Two-phase commit, settings of a session, renamed and dropped columns, beside an idle server."""
    async with stage.alone({"max_prepared_transactions": "10"}) as own:
        return await _judge_writes(own)


async def _judge_writes(stage: Stage) -> list[Outcome]:
    await stage.serve()
    await stage.probe_all(stage.size.lanes)
    failed: list[str] = []
    for name, statements in WRITES.items():
        # Idle: a reader that is busy spares writers the notification, which is what cannot be prepared.
        await asyncio.sleep(0.3)
        async with stage.connection() as writer:
            try:
                for statement in statements:
                    await writer.execute(statement)
            except asyncpg.PostgresError as error:
                failed.append(f"{name}: {error}")
    drained = await stage.drain()
    return [
        judged(
            "I37",
            {f"no write failed {failed[:3] or ''}": not failed, "drained": drained},
            {"writes": len(WRITES), "failed": len(failed)},
        )
    ]
