"""RealtimeServiceContract: the guarantees of a service that broadcasts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

import pytest

from flowcraft.channels import Channels
from flowcraft.errors import PayloadInvalid
from flowcraft.events import Event
from flowcraft.ports import EventLog, RealtimeService
from flowcraft.testing.contracts.transactions import texts


class Stepped(Event):
    """The event that the contract broadcasts."""

    step: int


contract_channels = Channels()
stepped_update = contract_channels.declare("stepped_update", Stepped)
ephemeral_update = contract_channels.declare("ephemeral_update", Stepped, durable=False)


@dataclass(frozen=True, slots=True)
class CallerTransaction:
    """A transaction of the caller, which passes it as `via`."""

    via: object
    commit: Callable[[], Awaitable[object] | object]
    rollback: Callable[[], Awaitable[object] | object]


BeginCaller: TypeAlias = Callable[[], Awaitable[CallerTransaction]]


class RealtimeServiceContract:
    """The guarantees of `ports.RealtimeService`."""

    @pytest.fixture
    def service(self) -> RealtimeService:
        raise NotImplementedError("override this fixture: return the service")

    @pytest.fixture
    def log(self) -> EventLog:
        raise NotImplementedError("override this fixture: return the log that the service broadcasts into")

    @pytest.fixture
    def begin_caller(self) -> BeginCaller:
        raise NotImplementedError("override this fixture: return a function that begins a transaction")

    async def test_an_event_is_committed_by_itself(self, service: RealtimeService, log: EventLog) -> None:
        start = (await log.position()).cursor
        await service.broadcast(stepped_update, Stepped(step=1))
        await service.broadcast(stepped_update, Stepped(step=2))
        records = (await log.tail(start)).records
        assert texts(records) == _stepped(1, 2)
        assert records[0].xid != records[1].xid

    async def test_events_via_a_transaction_commit_with_it(
        self, service: RealtimeService, log: EventLog, begin_caller: BeginCaller
    ) -> None:
        start = (await log.position()).cursor
        caller = await begin_caller()
        await service.broadcast(stepped_update, Stepped(step=1), via=caller.via)
        await service.broadcast(stepped_update, Stepped(step=2), via=caller.via)
        assert (await log.tail(start)).records == ()
        await _finish(caller.commit())
        records = (await log.tail(start)).records
        assert texts(records) == _stepped(1, 2)
        assert len({record.xid for record in records}) == 1

    async def test_events_via_a_transaction_roll_back_with_it(
        self, service: RealtimeService, log: EventLog, begin_caller: BeginCaller
    ) -> None:
        start = (await log.position()).cursor
        caller = await begin_caller()
        await service.broadcast(stepped_update, Stepped(step=1), via=caller.via)
        await _finish(caller.rollback())
        assert (await log.tail(start)).records == ()

    async def test_an_event_that_does_not_fit_is_refused_and_not_stored(
        self, service: RealtimeService, log: EventLog, begin_caller: BeginCaller
    ) -> None:
        start = (await log.position()).cursor
        wrong = Stepped(step="one")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        with pytest.raises(PayloadInvalid):
            await service.broadcast(stepped_update, wrong)
        caller = await begin_caller()
        with pytest.raises(PayloadInvalid):
            await service.broadcast(stepped_update, wrong, via=caller.via)
        await _finish(caller.rollback())
        assert (await log.tail(start)).records == ()

    async def test_a_via_of_an_unknown_type_is_a_mistake_of_the_programmer(
        self, service: RealtimeService, log: EventLog
    ) -> None:
        start = (await log.position()).cursor
        with pytest.raises(TypeError, match="via"):
            await service.broadcast(stepped_update, Stepped(step=1), via=object())
        assert (await log.tail(start)).records == ()

    async def test_an_event_of_a_channel_outside_the_log_is_not_in_the_log(
        self, service: RealtimeService, log: EventLog
    ) -> None:
        start = (await log.position()).cursor
        await service.broadcast(ephemeral_update, Stepped(step=1))
        assert (await log.tail(start)).records == ()

    async def test_an_error_of_the_transaction_reaches_the_caller(
        self, service: RealtimeService, log: EventLog, begin_caller: BeginCaller
    ) -> None:
        start = (await log.position()).cursor
        caller = await begin_caller()
        await _finish(caller.rollback())
        with pytest.raises(Exception):  # noqa: B017, PT011  # the database's own
            await service.broadcast(stepped_update, Stepped(step=1), via=caller.via)
        assert (await log.tail(start)).records == ()


def _stepped(*steps: int) -> list[str]:
    return [f"stepped_update {{type:Stepped,step:{step}}}" for step in steps]


async def _finish(outcome: Awaitable[object] | object) -> None:
    if isinstance(outcome, Awaitable):
        await outcome
