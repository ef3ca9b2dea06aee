"""The contracts: an adapter that breaks a promise fails the test of that promise, for each of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

import pytest

from flowcraft.adapters.memory import (
    MemoryBackend,
    MemoryLog,
    MemoryRealtimeService,
    MemoryTransaction,
    MemoryWakeups,
)
from flowcraft.channels import Channel
from flowcraft.cursors import Cursor, Lineage, Snapshot
from flowcraft.errors import CursorExpired, RealtimeError
from flowcraft.ports import BackendContext, LogReader
from flowcraft.records import Batch, Ephemeral, Kind, Limit, Record
from flowcraft.testing.contracts import (
    BackendContract,
    CallerTransaction,
    EventLogContract,
    Reader,
    RealtimeServiceContract,
    WakeupsContract,
    backend,
    wakeups,
)

E = TypeVar("E")
BROKEN = (AssertionError, TimeoutError, RealtimeError, RuntimeError, pytest.fail.Exception)
CONTRACTS = (EventLogContract, WakeupsContract, RealtimeServiceContract, BackendContract)


# Logs


class DriftingCursor(MemoryLog):
    def tail_now(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        batch = super().tail_now(after, limit=limit)
        drifted = replace(batch.cursor.snapshot, xmax=batch.cursor.snapshot.xmax + 1)
        return replace(batch, cursor=replace(batch.cursor, snapshot=drifted))


class StandingCursor(MemoryLog):
    def tail_now(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        return replace(super().tail_now(after, limit=limit), cursor=after)


class SplitTransactions(MemoryLog):
    def tail_now(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        batch = super().tail_now(after, limit=limit)
        return replace(batch, records=batch.records[:1])


class DirtyReads(MemoryLog):
    def begin(self, xid: int | None = None) -> MemoryTransaction:
        transaction = super().begin(xid)

        def broadcast_at_once(channel: str, payload: str, kind: Kind = Kind.EVENT) -> None:
            self.broadcast(channel, payload, kind=kind)

        transaction.broadcast = broadcast_at_once  # type: ignore[method-assign]
        return transaction


class FormattedPayloads(MemoryLog):
    def tail_now(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        batch = super().tail_now(after, limit=limit)
        return replace(
            batch, records=tuple(replace(r, payload=json.dumps(json.loads(r.payload))) for r in batch.records)
        )


class CursorOfOneChannel(MemoryLog):
    def replay_now(self, after: Cursor, channels: Sequence[str], *, limit: Limit | None = None) -> Batch:
        batch = super().replay_now(after, channels, limit=limit)
        newest = max((record.xid for record in batch.records), default=None)
        return replace(batch, cursor=after.advance(batch.snapshot, newest))


class Unlimited(MemoryLog):
    def replay_now(
        self,
        after: Cursor,
        channels: Sequence[str],
        *,
        limit: Limit | None = None,  # ignored on purpose
    ) -> Batch:
        return super().replay_now(after, channels)


class CountedCharacters(MemoryLog):
    def replay_now(self, after: Cursor, channels: Sequence[str], *, limit: Limit | None = None) -> Batch:
        batch = super().replay_now(after, channels)
        size = sum(len(record.payload) for record in batch.records)
        if limit is not None and (len(batch.records) > limit.events or size > (limit.bytes or size)):
            raise CursorExpired(str(after))
        return batch


class TailBoundedByBytes(MemoryLog):
    def tail_now(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        batch = super().tail_now(after, limit=limit)
        return self.replay_now(after, [record.channel for record in batch.records], limit=limit)


class UnclampedPosition(MemoryLog):
    def position_now(self) -> Batch:
        batch = super().position_now()
        return replace(batch, cursor=replace(batch.cursor, snapshot=batch.snapshot))


class NoZone(MemoryLog):
    def __init__(self) -> None:
        super().__init__(clock=lambda: datetime(2026, 1, 1))  # noqa: DTZ001  # that is the bug


class SilentGap(MemoryLog):
    def trim(self, *, before: int) -> None:
        floor = self._floor
        super().trim(before=before)
        self._floor = floor


class FloorAboveTheLog(MemoryLog):
    def trim(self, *, before: int) -> None:
        super().trim(before=before)
        self._floor = before


class AnyHistory(MemoryLog):
    def _check(self, after: Cursor) -> None:
        super()._check(replace(after, lineage=self.lineage))


class GenerationForEachFinder(MemoryLog):
    def rewound_now(self, last: Cursor) -> Batch:
        return super().rewound_now(replace(last, lineage=self.lineage))


class GenerationBroughtBack(MemoryLog):
    def rewound_now(self, last: Cursor) -> Batch:
        self.lineage = Lineage(self.lineage.system, self.lineage.timeline, last.lineage.generation + 1)
        return self.position_now()


class LateCommitsSkipped(MemoryLog):
    """Its cursor is a number."""

    def snapshot(self) -> Snapshot:
        return Snapshot(super().snapshot().xmax)


class OrderedByTransaction(MemoryLog):
    def tail_now(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        batch = super().tail_now(after, limit=limit)
        return replace(batch, records=tuple(sorted(batch.records, key=lambda r: (r.xid, r.id))))


class SnapshotOfTheCursor(MemoryLog):
    def tail_now(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        batch = super().tail_now(after, limit=limit)
        return replace(batch, snapshot=batch.cursor.snapshot)


class TrimmedPastARunningOne(MemoryLog):
    def trim(self, *, before: int) -> None:
        kept: list[Record] = [record for record in self._records if record.xid >= before]
        self._records[:] = kept
        self._floor = before


LOGS: dict[str, type[MemoryLog]] = {
    "test_nothing_follows_the_position_of_an_idle_log": DriftingCursor,
    "test_a_committed_transaction_is_read_once_whole_and_in_order": SplitTransactions,
    "test_what_is_not_committed_is_not_read": DirtyReads,
    "test_a_payload_is_returned_as_it_was_stored": FormattedPayloads,
    "test_a_replay_of_some_channels_ends_at_the_cursor_of_a_tail": CursorOfOneChannel,
    "test_more_than_the_limit_is_too_much_to_replay": Unlimited,
    "test_more_than_the_limit_of_bytes_is_too_much_to_replay": CountedCharacters,
    "test_a_tail_is_bounded_by_events_and_not_by_bytes": TailBoundedByBytes,
    "test_a_cursor_claims_no_transaction_beyond_the_newest_event": UnclampedPosition,
    "test_the_time_of_a_read_names_its_zone": NoZone,
    "test_a_cursor_before_what_was_trimmed_has_expired": SilentGap,
    "test_the_last_cursor_survives_when_everything_is_trimmed": FloorAboveTheLog,
    "test_a_cursor_of_another_history_is_refused_with_its_reason": AnyHistory,
    "test_a_new_generation_begins_once_for_all_who_find_the_log_rewound": GenerationForEachFinder,
    "test_a_late_finder_does_not_bring_a_generation_back": GenerationBroughtBack,
    "test_a_transaction_that_commits_late_is_read_then": LateCommitsSkipped,
    "test_a_transaction_that_commits_late_is_replayed_then": LateCommitsSkipped,
    "test_a_position_taken_while_a_transaction_runs_does_not_cover_it": LateCommitsSkipped,
    "test_what_became_visible_together_is_ordered_by_id": OrderedByTransaction,
    "test_a_cursor_survives_the_way_to_a_client_and_back": LateCommitsSkipped,
    "test_a_batch_names_the_transactions_that_have_ended": SnapshotOfTheCursor,
    "test_trimming_spares_what_came_after_a_transaction_that_runs": TrimmedPastARunningOne,
    "test_three_readers_read_everything_once_whenever_they_read": StandingCursor,
}


@pytest.mark.parametrize("promise", LOGS)
async def test_a_broken_log_fails_the_promise_that_it_breaks(promise: str) -> None:
    arguments = {"seed": 1} if "three_readers" in promise else {}
    with pytest.raises(BROKEN):
        await getattr(EventLogContract(), promise)(log=LOGS[promise](), **arguments)


# Wakeups


class NeverWoken(MemoryWakeups):
    def __init__(self, log: MemoryLog, *, safety_seconds: float) -> None:
        super().__init__(log, safety_seconds=safety_seconds)
        self.close()


class ForgetsBeforeTheWait(MemoryWakeups):
    async def wait(self) -> None:
        self._woken.clear()
        await super().wait()


class WokenByNewerOnesOnly(MemoryWakeups):
    def __init__(self, log: MemoryLog, *, safety_seconds: float) -> None:
        super().__init__(log, safety_seconds=safety_seconds)
        self.close()
        self._newest = log.snapshot().xmax
        log.on_change(lambda: self._look(log.snapshot().xmax))

    def _look(self, xmax: int) -> None:
        if xmax > self._newest + 1:  # the late one of the contract has the first id
            self._woken.set()


class WokenOnce(MemoryWakeups):
    async def wait(self) -> None:
        await super().wait()
        with contextlib.suppress(ValueError):
            self.close()


class NeverHurried(MemoryWakeups):
    def hurry(self) -> None:
        pass


class BrokenByACancellation(MemoryWakeups):
    async def wait(self) -> None:
        try:
            await super().wait()
        except asyncio.CancelledError:
            self.close()
            raise


class NoSafetyInterval(MemoryWakeups):
    def __init__(self, log: MemoryLog, *, safety_seconds: float) -> None:
        super().__init__(log, safety_seconds=100 * safety_seconds)


class NeverAtRest(MemoryWakeups):
    async def wait(self) -> None:
        await asyncio.sleep(0)


class WordyState(MemoryWakeups):
    @property
    def state(self) -> Any:
        return "letting go of the lock"


WAKEUPS: dict[str, type[MemoryWakeups]] = {
    "test_a_commit_ends_a_wait": NeverWoken,
    "test_a_commit_before_the_wait_and_after_the_read_ends_it": ForgetsBeforeTheWait,
    "test_a_transaction_that_ran_during_the_read_ends_the_wait_when_it_commits": WokenByNewerOnesOnly,
    "test_every_commit_of_a_burst_is_read": WokenOnce,
    "test_hurry_ends_the_present_wait_and_else_the_next_one": NeverHurried,
    "test_a_cancelled_wait_loses_no_hint": BrokenByACancellation,
    "test_an_idle_log_is_read_once_in_a_safety_interval": NoSafetyInterval,
    "test_an_idle_log_is_not_read_again_and_again": NeverAtRest,
    "test_its_state_is_a_word_and_no_trouble_is_none": WordyState,
}


@pytest.mark.parametrize("promise", WAKEUPS)
async def test_broken_wakeups_fail_the_promise_that_they_break(
    promise: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeups, "PROMPT_SECONDS", 0.3)
    with pytest.raises(BROKEN):
        await getattr(WakeupsContract(), promise)(reader_with(WAKEUPS[promise]))


def reader_with(kind: type[MemoryWakeups]) -> Callable[[float], AbstractAsyncContextManager[Reader]]:
    @asynccontextmanager
    async def opened(safety_seconds: float) -> AsyncIterator[Reader]:
        log = MemoryLog()
        yield Reader(log, kind(log, safety_seconds=safety_seconds), log)

    return opened


# Services


class LeavesItOpen(MemoryRealtimeService):
    async def broadcast(self, channel: Channel[E], event: E, *, via: object | None = None) -> None:
        await super().broadcast(channel, event, via=via or self._log.begin())


class CommitsByItself(MemoryRealtimeService):
    async def broadcast(
        self,
        channel: Channel[E],
        event: E,
        *,
        via: object | None = None,  # ignored on purpose
    ) -> None:
        await super().broadcast(channel, event)


class ChecksNothing(MemoryRealtimeService):
    async def broadcast(self, channel: Channel[E], event: E, *, via: object | None = None) -> None:
        self._log.broadcast(channel.name, "{}")
        await super().broadcast(channel, event, via=via)


class StoresWhatIsEphemeral(MemoryRealtimeService):
    async def broadcast(self, channel: Channel[E], event: E, *, via: object | None = None) -> None:
        self._log.broadcast(channel.name, channel.declaration.payload.encode(event))
        await super().broadcast(channel, event, via=via)


class SwallowsErrors(MemoryRealtimeService):
    async def broadcast(self, channel: Channel[E], event: E, *, via: object | None = None) -> None:
        with contextlib.suppress(Exception):
            await super().broadcast(channel, event, via=via)


SERVICES: dict[str, type[MemoryRealtimeService]] = {
    "test_an_event_is_committed_by_itself": LeavesItOpen,
    "test_events_via_a_transaction_commit_with_it": CommitsByItself,
    "test_events_via_a_transaction_roll_back_with_it": CommitsByItself,
    "test_an_event_that_does_not_fit_is_refused_and_not_stored": ChecksNothing,
    "test_a_via_of_an_unknown_type_is_a_mistake_of_the_programmer": CommitsByItself,
    "test_an_event_of_a_channel_outside_the_log_is_not_in_the_log": StoresWhatIsEphemeral,
    "test_an_error_of_the_transaction_reaches_the_caller": SwallowsErrors,
}


@pytest.mark.parametrize("promise", SERVICES)
async def test_a_broken_service_fails_the_promise_that_it_breaks(promise: str) -> None:
    log = MemoryLog()

    async def begin() -> CallerTransaction:
        transaction = log.begin()
        return CallerTransaction(transaction, transaction.commit, transaction.rollback)

    check = getattr(RealtimeServiceContract(), promise)
    wanted = {"service": SERVICES[promise](log), "log": log, "begin_caller": begin}
    with pytest.raises(BROKEN):
        await check(**{name: wanted[name] for name in check.__annotations__ if name in wanted})


# Backends


class ReadsAnotherLog(MemoryBackend):
    def open(self, context: BackendContext) -> LogReader:
        return replace(super().open(context), log=MemoryLog())


class EmptyWhenOpenedAgain(MemoryBackend):
    async def close(self) -> None:
        await super().close()
        self.log = MemoryLog()


def drop(event: Ephemeral) -> None:
    """The bug that is planted."""


class DeliversNothingEphemeral(MemoryBackend):
    def open(self, context: BackendContext) -> LogReader:
        return super().open(replace(context, deliver=drop))


class FailingUpkeep(MemoryBackend):
    def open(self, context: BackendContext) -> LogReader:
        async def fail() -> None:
            raise RuntimeError("planted")

        return replace(super().open(context), upkeep={"planted": fail})


class ClosedOnce(MemoryBackend):
    async def close(self) -> None:
        assert self._wakeups is not None, "planted: not open"
        await super().close()


BACKENDS: dict[str, type[MemoryBackend]] = {
    "test_a_broadcast_reaches_a_subscriber": ReadsAnotherLog,
    "test_a_client_resumes_after_the_backend_was_closed_and_opened_again": EmptyWhenOpenedAgain,
    "test_an_event_outside_the_log_is_delivered_once": DeliversNothingEphemeral,
    "test_its_upkeep_runs_and_reports_no_error": FailingUpkeep,
    "test_it_can_be_closed_twice_and_before_it_is_opened": ClosedOnce,
}


@pytest.mark.parametrize("promise", BACKENDS)
async def test_a_broken_backend_fails_the_promise_that_it_breaks(
    promise: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "_SECONDS", 0.5)
    with pytest.raises(BROKEN):
        await getattr(BackendContract(), promise)(BACKENDS[promise]())


def test_every_promise_of_every_contract_has_an_adapter_that_breaks_it() -> None:
    tables: Iterator[dict[str, Any]] = iter((LOGS, WAKEUPS, SERVICES, BACKENDS))
    for contract, table in zip(CONTRACTS, tables, strict=True):
        assert {name for name in dir(contract) if name.startswith("test_")} == set(table)
