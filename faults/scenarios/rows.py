"""Rows: at every commit point a page has the rows that SQL has at that cursor (I25)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from dataclasses import replace

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from faults.outcomes import Outcome, judged, scenario
from faults.rows_page import RowsPage
from faults.stage import Stage
from faults.task_writers import TEAMS, Observed, TaskWriters, differences, history, shown

PAGES = 8
SECONDS_OF_TINY = 3.0
CHANNELS = ("task_rows", *(f"team_task_rows.{team}" for team in range(1, TEAMS + 2)))
DRAIN_SECONDS = 60.0
"""The longest wait for pages to have everything, after the last write: of a busy machine too."""
SHOWN = 3
"""Differences that are reported."""


class Watcher:
    """A page whose connection comes and goes; it keeps what it showed after every group."""

    def __init__(self, name: str, address: str, seed: int) -> None:
        self.name = name
        self.page = RowsPage(*CHANNELS)
        self.observed: dict[tuple[str, str], Observed] = {}
        self.contradictions: list[str] = []
        self.connects = 0
        self.waits_for = ""
        self.settled = asyncio.Event()
        self._address = address
        self._chance = random.Random(f"{seed} {name}")

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            with contextlib.suppress(OSError, WebSocketException, TimeoutError):
                async with connect(self._address, max_size=2**24, open_timeout=5) as client:
                    self.connects += 1
                    seconds = DRAIN_SECONDS if self.waits_for else self._chance.choice([0.05, 0.3, 2.0, 5.0])
                    async with asyncio.timeout(seconds):
                        await self._watch(client)
            self.page.lost()
            await asyncio.sleep(self._chance.uniform(0, 0.2))

    async def _watch(self, client: ClientConnection) -> None:
        for frame in self.page.requests():
            await client.send(json.dumps(frame))
        if self.waits_for:
            await client.send(json.dumps({"settle": self.waits_for}))
        has_settled, groups = False, 0
        while True:
            message = await client.recv()
            for frame in self.page.received(message):
                await client.send(json.dumps(frame))
            has_settled = has_settled or str(message).startswith('{"settled"')
            if has_settled and self.page.live == set(CHANNELS):
                self.settled.set()
            if self.page.groups != groups:
                groups = self.page.groups
                self._note()

    def _note(self) -> None:
        """Keep what is shown at each cursor; two texts at one cursor contradict each other."""
        for channel in self.page.live:
            cursor = self.page.cursors[channel]
            if cursor is None:
                continue
            rows = shown(self.page.rows[channel].values())
            known = self.observed.setdefault((channel, cursor), Observed(self.name, channel, cursor, rows))
            if known.rows != rows:
                self.contradictions.append(f"{self.name} on {channel} at {cursor}: {known.rows}, then {rows}")


@scenario("I25")
async def rows_are_those_of_the_cursor(stage: Stage) -> list[Outcome]:
    """8 writers: moves, key changes, conditions, nested triggers, cascades, TRUNCATE, DDL; servers die."""
    servers = [
        await stage.serve(),
        await stage.serve(settings={"recent_events": 3, "rows_per_channel": 1000}),
    ]
    watchers = [Watcher(f"page {n}", stage.address, stage.seed) for n in range(PAGES)]
    tasks = [asyncio.create_task(watcher.run()) for watcher in watchers]
    writers = TaskWriters(stage.dsn, count=8, seed=stage.seed)
    try:
        async with writers.writing():
            for server in [*servers, *servers]:
                await asyncio.sleep(stage.size.fault_seconds / 2 + SECONDS_OF_TINY / 4)
                await server.kill()
                await server.start()
        drained = await _all_settled(stage, watchers)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    broken = [repr(one) for one in ended if isinstance(one, Exception)]
    async with stage.connection() as connection:
        changes = await history(connection)
    observed = [one for watcher in watchers for one in watcher.observed.values()]
    wrong = differences(changes, observed)
    contradictions = [text for watcher in watchers for text in watcher.contradictions]
    states = sum(watcher.page.states for watcher in watchers)
    outcome = judged(
        "I25",
        {
            "drained": drained,
            "equal to SQL": not wrong,
            "whole groups": not contradictions and not broken,
            "states were read": states > PAGES,
            "the table changed": len(changes) > 100,
        },
        {
            "commit points": len(observed),
            "different": len(wrong),
            "states": states,
            "changes": len(changes),
            "connects": sum(watcher.connects for watcher in watchers),
        },
    )
    notes = (*outcome.notes, *wrong[:SHOWN], *contradictions[:SHOWN], *broken[:SHOWN])
    return [replace(outcome, notes=notes)]


async def _all_settled(stage: Stage, watchers: list[Watcher]) -> bool:
    """Wait until every page has had everything, in one connection each; whether they did in time."""
    marker = str(await stage.commit_marker())
    for watcher in watchers:
        watcher.waits_for = marker
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            await asyncio.gather(*(watcher.settled.wait() for watcher in watchers))
    except TimeoutError:
        return False
    return True
