"""The machine on PostgreSQL itself: one writer and one reader, stepped through every order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from flowcraft.adapters.postgres.statements import statement
from flowcraft.core.wakeup import (
    DrawMark,
    Leader,
    NotifyOthers,
    Read,
    Step,
    TryLock,
    Unlock,
    Wait,
    WakeupMachine,
)
from flowcraft.cursors import Cursor
from tests.support.postgres import AppendablePostgresLog, connected, migrated

if TYPE_CHECKING:
    from tests.support.postgres import Plain

SAFETY_SECONDS = 1.0
NEW_ID = statement("draw_mark")
XMAX = "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
WRITER = (
    """begin; insert into flowcraft.event (channel, payload) values ('runs.1', '{}')""",
    "select flowcraft.wake()",
    "commit",
)


class Scene:
    """The actors of a play: a writer with three moments, a reader that has the lock or is yet to come."""

    def __init__(
        self, log: AppendablePostgresLog, reader: Plain, writer: Plain, mark: str, arrives: bool
    ) -> None:
        self._log = log
        self._reader = reader
        self._writer = writer
        self._mark = mark
        self._arrives = arrives
        self._rung = False

    @classmethod
    @asynccontextmanager
    async def set(cls, dsn: str, mark: str, *, arrives: bool = False) -> AsyncIterator[Scene]:
        async with migrated(dsn) as log, connected(dsn) as reader, connected(dsn) as writer:
            scene = cls(log, reader, writer, mark, arrives)
            await reader.add_listener("flowcraft_wakeup", scene._hear)
            yield scene

    async def play(self, choices: list[int]) -> tuple[list[int], bool]:
        """Act as chosen, then as it comes; return how many could act each time, and whether it was lost."""
        await self._begin()
        could: list[int] = []
        while able := self._able():
            choice = choices[len(could)] if len(could) < len(choices) else 0
            could.append(len(able))
            await able[choice]()
        await self._reader.execute("select pg_advisory_unlock_all()")
        return could, self._read < 1

    async def _begin(self) -> None:
        self._machine = WakeupMachine(safety_seconds=SAFETY_SECONDS)
        self._there = not self._arrives
        if self._there:
            await self._reader.execute(statement("join"))
            assert await self._reader.fetchval(statement("try_lock"))
            self._machine.state = Leader()
        self._cursor: Cursor = (await self._log.position()).cursor
        self._step: Step = Read()
        self._written = self._read = 0
        self._rung = self._paused = False
        self._now = 0.0

    def _able(self) -> list[Callable[[], Awaitable[None]]]:
        able: list[Callable[[], Awaitable[None]]] = []
        if self._written < len(WRITER):
            able.append(self._write)
        sleeps = isinstance(self._step, Wait) and self._step.seconds >= SAFETY_SECONDS
        # A reader that waits for the writer looks again and again; once per moment of the writer will do.
        if self._rung or not (sleeps or (self._paused and able)):
            able.append(self._act)
        return able

    async def _write(self) -> None:
        await self._writer.execute(WRITER[self._written])
        self._written += 1
        self._paused = False
        # The ring was signalled before the commit returned; whatever the server says next comes after it.
        await self._reader.execute("select 1")

    async def _act(self) -> None:
        if not self._there:
            self._there = True
            await self._reader.execute(statement("join"))
            return
        match self._step:
            case Read():
                await self._look()
            case Wait():
                self._step = Read()
            case TryLock():
                raise AssertionError("a reader that read one event is not busy")
            case Unlock():
                await self._reader.execute(statement("unlock"))
                self._step = self._machine.unlocked()
            case DrawMark():
                self._step = self._machine.marked(await self._reader.fetchval(self._mark))
            case NotifyOthers():
                self._step = self._machine.notified(self._now)

    async def _look(self) -> None:
        self._rung = False
        batch = await self._log.tail(self._cursor)
        self._cursor = batch.cursor
        self._read += len(batch.records)
        self._now += 1.0
        self._step = self._machine.observe(batch.snapshot, len(batch.records), waited=1.0, now=self._now)
        self._paused = isinstance(self._step, Wait)

    def _hear(self, *_: object) -> None:
        self._rung = True


async def every_play(scene: Scene) -> list[tuple[list[int], bool]]:
    """Play every order once; return the choices of each, and whether its event was lost."""
    plays: list[tuple[list[int], bool]] = []
    stack: list[list[int]] = [[]]
    while stack:
        choices = stack.pop()
        could, lost = await scene.play(choices)
        plays.append((choices, lost))
        made = choices + [0] * (len(could) - len(choices))
        for moment in range(len(choices), len(could)):
            stack += [[*made[:moment], other] for other in range(1, could[moment])]
    return plays


async def test_no_order_of_a_writer_and_a_reader_loses_the_event(database: str) -> None:
    async with Scene.set(database, NEW_ID) as scene:
        plays = await every_play(scene)
    assert len(plays) > 30
    assert [choices for choices, lost in plays if lost] == []


async def test_no_order_of_a_writer_and_a_reader_that_arrives_loses_the_event(database: str) -> None:
    async with Scene.set(database, NEW_ID, arrives=True) as scene:
        plays = await every_play(scene)
    assert len(plays) > 30
    assert [choices for choices, lost in plays if lost] == []


async def test_the_same_plays_catch_a_mark_that_is_only_the_xmax_of_a_snapshot(database: str) -> None:
    async with Scene.set(database, XMAX) as scene:
        plays = await every_play(scene)
    assert [choices for choices, lost in plays if lost]
