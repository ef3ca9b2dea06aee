"""The port of runs, their steps, their log and the leases that workers hold on them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol
from uuid import UUID

import msgspec

from examples.flowcraft.api.core.domain.events import (
    FlowUpdate,
    Initiator,
    LogLevel,
    LogLine,
    RunUpdate,
    StepUpdate,
)
from examples.flowcraft.api.core.ports.transaction import State, Transaction


class RunDetail(msgspec.Struct, frozen=True):
    """A run and its log. Its steps are rows of `step_rows`."""

    run: RunUpdate
    log: list[LogLine]


class RunVersion(msgspec.Struct, frozen=True):
    """How often a run's row was written."""

    run_id: UUID
    number: int
    version: int


class Audit(msgspec.Struct, frozen=True):
    """The versions of the newest runs, and the transaction in which they were read."""

    data: list[RunVersion]
    xid: str


class RunTransaction(Transaction, Protocol):
    """Runs, inside one transaction."""

    async def flow(self, flow_id: str) -> FlowUpdate | None:
        """Return a flow."""
        ...

    async def insert(self, flow: FlowUpdate, triggered_by: Initiator) -> UUID:
        """Add a queued run with one pending step for each of the flow's."""
        ...

    async def lock(self, run_id: UUID) -> RunUpdate | None:
        """Return a run and hold its row until the end.

        A change of a run, its steps or its log takes this lock first, which gives the events one order.
        """
        ...

    async def steps(self, run_id: UUID) -> Sequence[StepUpdate]:
        """Return the steps of a run, by position."""
        ...

    async def save(self, run: RunUpdate) -> None:
        """Write what can change in a run; the database counts its version."""
        ...

    async def save_step(self, step: StepUpdate) -> None:
        """Write what can change in a step; the database counts its version."""
        ...

    async def add_line(self, run_id: UUID, text: str, level: LogLevel, position: int | None) -> LogLine:
        """Add a line to the log of a run that this transaction has locked, with the next number."""
        ...

    async def claim(self, worker: str, lease_seconds: float) -> RunUpdate | None:
        """Lock and lease a run that wants a worker: the oldest that is due or whose worker is silent."""
        ...

    async def renew(self, run_id: UUID, worker: str, lease_seconds: float) -> bool:
        """Extend a lease. False: the worker does not hold it (any longer)."""
        ...

    async def leave(self, run_id: UUID) -> None:
        """End the lease on a run."""
        ...


class RunRepository(Protocol):
    """Where runs are kept."""

    def transaction(self) -> AbstractAsyncContextManager[RunTransaction]:
        """Begin a transaction: it commits at the end of the block, and rolls back if the block raises."""
        ...

    async def detail(self, run_id: UUID) -> State[RunDetail] | None:
        """Return one run with the last 1,000 lines of its log."""
        ...

    async def active(self) -> int:
        """Count the runs that are queued or running."""
        ...

    async def audit(self) -> Audit:
        """Return the versions of the newest 500 runs."""
        ...

    async def prune(self, keep: int) -> None:
        """Forget finished runs beyond the newest so many."""
        ...
