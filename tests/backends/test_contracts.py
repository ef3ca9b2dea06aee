"""The contracts of wakeups, services and backends: who breaks a promise fails the test of that promise."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from flowcraft.adapters.memory import (
    MemoryBackend,
    MemoryLog,
    MemoryRealtimeService,
    MemoryWakeups,
)
from flowcraft.declared_channels import Channel
from flowcraft.ports import BackendContext, LogReader
from flowcraft.records import Ephemeral
from flowcraft.testing.contracts import (
    BackendContract,
    CallerTransaction,
    Reader,
    RealtimeServiceContract,
    WakeupsContract,
    backend,
    wakeups,
)
from tests.backends.test_log_contract import BROKEN

E = TypeVar("E")
CONTRACTS = (WakeupsContract, RealtimeServiceContract, BackendContract)


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
    tables: Iterator[dict[str, Any]] = iter((WAKEUPS, SERVICES, BACKENDS))
    for contract, table in zip(CONTRACTS, tables, strict=True):
        assert {name for name in dir(contract) if name.startswith("test_")} == set(table)
