"""Seed: the flows, and a little past, so that no page is empty on the first day."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg

from examples.flowcraft.api.adapters.postgres.database import sql
from examples.flowcraft.api.worker import CATALOGUE, Flow

PAST_RUNS = 60

_RUN = """
insert into runs (id, flow_id, flow_name, status, progress, current_step, triggered_by, error,
                  created_at, started_at, finished_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10)
"""
_STEP = """
insert into steps (run_id, position, name, status, progress, attempt, error, started_at, finished_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
_LINE = "insert into log_lines (run_id, number, at, level, position, text) values ($1, $2, $3, $4, $5, $6)"

# What the dashboard would have measured while those runs went on.
_MEASUREMENTS = """
insert into measurements
select at, 0, count(*) filter (where started_at <= at and finished_at > at),
       count(*) filter (where status = 'succeeded' and finished_at <= at),
       count(*) filter (where status = 'failed' and finished_at <= at),
       count(*) filter (where status = 'cancelled' and finished_at <= at),
       count(*) filter (where finished_at between at - interval '1 minute' and at),
       round(avg(case status when 'succeeded' then 1 when 'failed' then 0 end)
             filter (where finished_at between at - interval '5 minutes' and at), 4),
       round(extract(epoch from avg(finished_at - started_at)
             filter (where finished_at between at - interval '5 minutes' and at)), 2)
from runs, generate_series(now() - interval '5 min', now() - interval '5 s', interval '5 s') at
group by at
on conflict do nothing
"""


@dataclass
class _Log:
    run_id: UUID
    lines: list[tuple[object, ...]]

    def write(self, at: datetime, text: str, level: str = "info", position: int | None = None) -> None:
        self.lines.append((self.run_id, len(self.lines) + 1, at, level, position, text))


async def seed(dsn: str) -> None:
    """Bring the flows up to date; if there has never been a run, invent some."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            for flow in CATALOGUE:
                steps = [step.name for step in flow.steps]
                await connection.execute(sql("upsert_flow"), flow.flow_id, flow.name, flow.description, steps)
            if not await connection.fetchval("select exists(select from runs)"):
                await _invent_a_past(connection)
    finally:
        await connection.close()


async def _invent_a_past(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    ago = sorted((random.uniform(15, 300) for _ in range(PAST_RUNS)), reverse=True)
    for seconds in ago:
        started = datetime.now(UTC) - timedelta(seconds=seconds)
        await _invent_a_run(connection, random.choice(CATALOGUE), started)
    await connection.execute(_MEASUREMENTS)
    for text, level in (
        ("Welcome to FlowCraft. Everything on these pages is live: no reload, no polling.", "info"),
        ("The image pipeline is known to fail now and then. Its runs can be retried.", "warning"),
    ):
        await connection.execute("insert into announcements (text, level) values ($1, $2)", text, level)


async def _invent_a_run(
    connection: asyncpg.Connection[asyncpg.Record], flow: Flow, started: datetime
) -> None:
    run_id = uuid4()
    fails_at = random.randint(2, len(flow.steps)) if random.random() < 0.15 else None
    log = _Log(run_id, [])
    log.write(started, f"{flow.name} was triggered by the schedule")
    at, steps, error = started, list[tuple[object, ...]](), None
    for position, step in enumerate(flow.steps, start=1):
        if error is not None:
            steps.append((run_id, position, step.name, "pending", 0, 0, None, None, None))
            continue
        begun, at = at, at + timedelta(seconds=random.uniform(0.6, 2.4))
        log.write(begun, step.name, position=position)
        if position == fails_at:
            error = "the service answers 503, it is overloaded"
            log.write(at, error, "error", position)
            steps.append((run_id, position, step.name, "failed", 60, 3, error, begun, at))
        else:
            steps.append((run_id, position, step.name, "succeeded", 100, 1, None, begun, at))
    status, progress, current = "succeeded", 100, None
    if fails_at is not None:
        current = flow.steps[fails_at - 1].name
        status, progress, error = "failed", 100 * (fails_at - 1) // len(flow.steps), f"{current}: {error}"
    log.write(
        at, "the run failed after 3 attempts" if error else "the run succeeded", "error" if error else "info"
    )
    await connection.execute(
        _RUN, run_id, flow.flow_id, flow.name, status, progress, current, "schedule", error, started, at
    )
    await connection.executemany(_STEP, steps)
    await connection.executemany(_LINE, log.lines)
