"""WakeupsContract: the guarantees of the wakeups of one reader."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import pytest

from flowcraft.cursors import Cursor
from flowcraft.ports import EventLog, Wakeups
from flowcraft.testing.contracts.transactions import AppendableLog, begin, commit, done

PROMPT_SECONDS = 10.0
"""A wakeup that takes longer is lost: the safety interval of these tests is longer still."""
_NEVER_SECONDS = 60.0
_REST_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Reader:
    """A node's log and wakeups, and the log that the test writes to, on the same events."""

    log: EventLog
    wakeups: Wakeups
    writer: AppendableLog


OpenReader = Callable[[float], AbstractAsyncContextManager[Reader]]
"""Opens a reader with this safety interval in seconds and with its upkeep running, until the block ends."""


class WakeupsContract:
    """The guarantees of `ports.Wakeups`."""

    @pytest.fixture
    def open_reader(self) -> OpenReader:
        raise NotImplementedError("override this fixture: return a function that opens a reader")

    async def test_a_commit_ends_a_wait(self, open_reader: OpenReader) -> None:
        async with open_reader(_NEVER_SECONDS) as reader:
            cursor, waiting = await _at_rest(reader)
            await commit(reader.writer, "runs.1 a")
            await _ended(waiting)
            await _until_read(reader, cursor, 1)

    async def test_a_commit_before_the_wait_and_after_the_read_ends_it(self, open_reader: OpenReader) -> None:
        async with open_reader(_NEVER_SECONDS) as reader:
            cursor = await _stopped_at_rest(reader)
            for _ in range(3):
                cursor = (await reader.log.tail(cursor)).cursor
                await commit(reader.writer, "runs.1 a")
                await _ended(asyncio.create_task(reader.wakeups.wait()))
                cursor = await _until_read(reader, cursor, 1)

    async def test_a_transaction_that_ran_during_the_read_ends_the_wait_when_it_commits(
        self, open_reader: OpenReader
    ) -> None:
        async with open_reader(_NEVER_SECONDS) as reader:
            late = await begin(reader.writer, "runs.1 late")
            cursor, waiting = await _at_rest(reader)
            await done(late.commit())
            await _ended(waiting)
            await _until_read(reader, cursor, 1)

    async def test_every_commit_of_a_burst_is_read(self, open_reader: OpenReader) -> None:
        async with open_reader(_NEVER_SECONDS) as reader:
            cursor = (await reader.log.position()).cursor
            reading = asyncio.create_task(_until_read(reader, cursor, 50))
            for n in range(50):
                await commit(reader.writer, f"runs.1 n{n}")
                await asyncio.sleep(0)  # a log in memory gives the reader no other turn
            await reading

    async def test_hurry_ends_the_present_wait_and_else_the_next_one(self, open_reader: OpenReader) -> None:
        async with open_reader(_NEVER_SECONDS) as reader:
            _, waiting = await _at_rest(reader)
            reader.wakeups.hurry()
            await _ended(waiting)
            await _stopped_at_rest(reader)
            reader.wakeups.hurry()
            await _ended(asyncio.create_task(reader.wakeups.wait()))

    async def test_a_cancelled_wait_loses_no_hint(self, open_reader: OpenReader) -> None:
        async with open_reader(_NEVER_SECONDS) as reader:
            cursor = await _stopped_at_rest(reader)
            await commit(reader.writer, "runs.1 a")
            await _ended(asyncio.create_task(reader.wakeups.wait()))
            await _until_read(reader, cursor, 1)

    async def test_an_idle_log_is_read_once_in_a_safety_interval(self, open_reader: OpenReader) -> None:
        async with open_reader(0.1) as reader:
            await _stopped_at_rest(reader)
            for _ in range(3):
                await _ended(asyncio.create_task(reader.wakeups.wait()))

    async def test_an_idle_log_is_not_read_again_and_again(self, open_reader: OpenReader) -> None:
        async with open_reader(_NEVER_SECONDS) as reader:
            await _stopped_at_rest(reader)

    async def test_its_state_is_a_word_and_no_trouble_is_none(self, open_reader: OpenReader) -> None:
        async with open_reader(_NEVER_SECONDS) as reader:
            await _stopped_at_rest(reader)
            assert (reader.wakeups.state.isidentifier(), reader.wakeups.trouble) == (True, None)


async def _at_rest(reader: Reader) -> tuple[Cursor, asyncio.Task[None]]:
    """Read and wait like the relay until a wait does not end; return the cursor and that wait."""
    cursor = (await reader.log.position()).cursor
    async with asyncio.timeout(PROMPT_SECONDS):
        while True:
            waiting = asyncio.create_task(reader.wakeups.wait())
            await asyncio.wait([waiting], timeout=_REST_SECONDS)
            if not waiting.done():
                return cursor, waiting
            await waiting
            cursor = (await reader.log.tail(cursor)).cursor


async def _stopped_at_rest(reader: Reader) -> Cursor:
    cursor, waiting = await _at_rest(reader)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    return cursor


async def _ended(waiting: asyncio.Task[None]) -> None:
    began = time.monotonic()
    done, _ = await asyncio.wait([waiting], timeout=PROMPT_SECONDS)
    if not done:
        waiting.cancel()
        pytest.fail(f"the wait has not ended in {time.monotonic() - began:.0f} s")
    await waiting


async def _until_read(reader: Reader, cursor: Cursor, records: int) -> Cursor:
    """Read and wait like the relay until this many records have been read."""
    async with asyncio.timeout(PROMPT_SECONDS):
        while True:
            batch = await reader.log.tail(cursor)
            cursor, records = batch.cursor, records - len(batch.records)
            if records <= 0:
                return cursor
            await reader.wakeups.wait()
