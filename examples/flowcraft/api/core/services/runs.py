"""Runs, as people use them: trigger, watch, cancel, retry."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import msgspec

from examples.flowcraft.api.core.domain import lifecycle
from examples.flowcraft.api.core.domain.errors import (
    FlowNotFound,
    FlowPaused,
    RunNotCancellable,
    RunNotFound,
    RunNotRetryable,
)
from examples.flowcraft.api.core.domain.events import Initiator, RunUpdate
from examples.flowcraft.api.core.ports import (
    Audit,
    RealtimeService,
    RunDetail,
    RunRepository,
    RunTransaction,
    State,
)
from examples.flowcraft.api.core.services.run_log import RunLog


class Triggered(msgspec.Struct, frozen=True):
    """A new run, and the transaction that began it."""

    run_id: UUID
    xid: str


class RunService:
    """The operations on runs. Triggers broadcast changes of rows; this service broadcasts log lines."""

    def __init__(self, realtime: RealtimeService, runs: RunRepository) -> None:
        self._runs = runs
        self._log = RunLog(realtime)

    async def detail(self, run_id: UUID) -> State[RunDetail]:
        """Return one run with its log.

        Raises:
            RunNotFound: there is none.
        """
        detail = await self._runs.detail(run_id)
        if detail is None:
            raise RunNotFound(run_id)
        return detail

    async def audit(self) -> Audit:
        """Return the versions of the newest runs, for a page that checks whether it has seen them all."""
        return await self._runs.audit()

    async def active(self) -> int:
        """Count the runs that are queued or running."""
        return await self._runs.active()

    async def prune(self, keep: int) -> None:
        """Forget finished runs beyond the newest so many."""
        await self._runs.prune(keep)

    async def trigger(self, flow_id: str, triggered_by: Initiator = "person") -> Triggered:
        """Queue a run of a flow.

        Raises:
            FlowNotFound: there is no such flow.
            FlowPaused: it takes no new runs.
        """
        async with self._runs.transaction() as tx:
            flow = await tx.flow(flow_id)
            if flow is None:
                raise FlowNotFound(flow_id)
            if flow.paused:
                raise FlowPaused(flow.name)
            run_id = await tx.insert(flow, triggered_by)
            whom = "a person" if triggered_by == "person" else "the schedule"
            await self._log.write(tx, run_id, f"{flow.name} was triggered by {whom}")
            return Triggered(run_id, await tx.xid())

    async def cancel(self, run_id: UUID) -> str:
        """Cancel a run: at once if it waits, otherwise as soon as its worker notices. Return the transaction.

        Raises:
            RunNotFound: there is none.
            RunNotCancellable: it has finished.
        """
        async with self._runs.transaction() as tx:
            run = await _locked(tx, run_id)
            if run.status == "queued":
                await cancel_now(tx, run)
                await self._log.write(tx, run_id, "cancelled before a worker took it", "warning")
            elif run.status == "running":
                await tx.save(msgspec.structs.replace(run, cancel_requested=True))
                await self._log.write(tx, run_id, "cancellation requested", "warning")
            else:
                raise RunNotCancellable(run)
            return await tx.xid()

    async def retry(self, run_id: UUID) -> str:
        """Queue a failed or cancelled run again, to go on where it stopped. Return the transaction.

        Raises:
            RunNotFound: there is none.
            RunNotRetryable: it succeeded, or has not finished.
        """
        async with self._runs.transaction() as tx:
            run = await _locked(tx, run_id)
            if run.status not in {"failed", "cancelled"}:
                raise RunNotRetryable(run)
            await tx.save(again := lifecycle.retried(run))
            for step in await tx.steps(run_id):
                if step.status not in {"succeeded", "pending"}:
                    await tx.save_step(lifecycle.step_retried(step))
            await self._log.write(tx, run_id, f"retried, attempt {again.attempt}")
            return await tx.xid()


async def cancel_now(tx: RunTransaction, run: RunUpdate) -> None:
    """Write that a locked run and the steps it has not done are cancelled."""
    now = datetime.now(UTC)
    for step in await tx.steps(run.run_id):
        if step.status != "succeeded":
            await tx.save_step(lifecycle.step_cancelled(step, now))
    await tx.save(lifecycle.cancelled(run, now))


async def _locked(tx: RunTransaction, run_id: UUID) -> RunUpdate:
    run = await tx.lock(run_id)
    if run is None:
        raise RunNotFound(run_id)
    return run
