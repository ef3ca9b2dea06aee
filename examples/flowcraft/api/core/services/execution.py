"""Runs, as workers use them: claim one, report on it, finish it or give it back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from msgspec.structs import replace

from examples.flowcraft.api.core.domain import lifecycle
from examples.flowcraft.api.core.domain.errors import CancelRequested, LeaseLost
from examples.flowcraft.api.core.domain.events import LogLevel, RunUpdate, StepUpdate
from examples.flowcraft.api.core.ports import RealtimeService, RunRepository, RunTransaction
from examples.flowcraft.api.core.services.run_log import RunLog
from examples.flowcraft.api.core.services.runs import cancel_now


@dataclass(frozen=True, slots=True)
class Assignment:
    """A run that a worker has leased, and the steps it still has to do."""

    worker: str
    run_id: UUID
    flow_id: str
    todo: tuple[StepUpdate, ...]


class ExecutionService:
    """What workers do with runs.

    Every report begins by locking the run and proving the lease. A worker that was thought dead and comes
    back after another has taken its run over is stopped by `LeaseLost` before it can write anything.
    """

    def __init__(self, realtime: RealtimeService, runs: RunRepository, *, lease_seconds: float = 6.0) -> None:
        self._runs = runs
        self._log = RunLog(realtime)
        self._lease_seconds = lease_seconds

    async def claim(self, worker: str) -> Assignment | None:
        """Take a run that is due, or one whose worker has died."""
        async with self._runs.transaction() as tx:
            run = await tx.claim(worker, self._lease_seconds)
            if run is None:
                return None
            if run.cancel_requested:  # its worker died before it noticed
                await self._cancel(tx, run)
                return None
            if run.status == "running" and await self._is_given_up(tx, run):
                return None
            await tx.save(lifecycle.claimed(run, datetime.now(UTC)))
            await self._log.write(tx, run.run_id, f"claimed by {worker}")
            todo = tuple(step for step in await tx.steps(run.run_id) if step.status != "succeeded")
            return Assignment(worker, run.run_id, run.flow_id, todo)

    async def renew(self, held: Assignment) -> None:
        """Show that the worker is alive.

        Raises:
            LeaseLost: another worker has the run.
            CancelRequested: a user cancelled it.
        """
        async with self._held(held):
            pass

    async def begin(self, held: Assignment, position: int) -> None:
        """Start a step. Raises as `renew` does."""
        async with self._held(held) as (tx, run):
            steps = await tx.steps(run.run_id)
            step = lifecycle.begun(steps[position - 1], datetime.now(UTC))
            await tx.save_step(step)
            await tx.save(lifecycle.advanced(run, step, of=len(steps)))
            again = f" (attempt {step.attempt} of {step.max_attempts})" if step.attempt > 1 else ""
            await self._log.write(tx, run.run_id, f"{step.name}{again}", position=position)

    async def report(
        self,
        held: Assignment,
        position: int,
        progress: int | None,
        text: str | None,
        level: LogLevel = "info",
    ) -> None:
        """Record the progress of a step, and a log line. Raises as `renew` does."""
        async with self._held(held) as (tx, run):
            if progress is not None:
                steps = await tx.steps(run.run_id)
                step = replace(steps[position - 1], progress=progress)
                await tx.save_step(step)
                await tx.save(lifecycle.advanced(run, step, of=len(steps)))
            if text is not None:
                await self._log.write(tx, run.run_id, text, level, position)

    async def complete(self, held: Assignment, position: int) -> None:
        """Finish a step, and with the last one the run. Raises as `renew` does."""
        async with self._held(held) as (tx, run):
            now = datetime.now(UTC)
            steps = await tx.steps(run.run_id)
            step = lifecycle.completed(steps[position - 1], now)
            await tx.save_step(step)
            if position < len(steps):
                await tx.save(lifecycle.advanced(run, step, of=len(steps)))
                return
            await tx.save(lifecycle.succeeded(run, now))
            await tx.leave(run.run_id)
            await self._log.write(tx, run.run_id, "the run succeeded")

    async def fail(self, held: Assignment, position: int, error: str) -> None:
        """Record that a step failed: another attempt later, or the end of the run. Raises as `renew` does."""
        async with self._held(held) as (tx, run):
            now = datetime.now(UTC)
            step = replace((await tx.steps(run.run_id))[position - 1], error=error)
            await self._log.write(tx, run.run_id, error, "error", position)
            if lifecycle.may_try_again(step):
                later = lifecycle.waiting(run, step, now)
                await tx.save_step(replace(step, status="retrying"))
                await tx.save(later)
                assert later.retry_at is not None
                seconds = (later.retry_at - now).total_seconds()
                await self._log.write(tx, run.run_id, f"trying again in {seconds:g} s", "warning", position)
            else:
                await tx.save_step(replace(step, status="failed", finished_at=now))
                await tx.save(lifecycle.failed(run, f"{step.name}: {error}", now))
                await self._log.write(
                    tx, run.run_id, f"the run failed after {step.attempt} attempts", "error"
                )
            await tx.leave(run.run_id)

    async def cancel(self, held: Assignment) -> None:
        """Record that the worker has stopped, as requested.

        Raises:
            LeaseLost: another worker has the run.
        """
        async with self._held(held, although_cancelled=True) as (tx, run):
            await self._cancel(tx, run)

    async def release(self, held: Assignment) -> None:
        """Give the run back unfinished, because this worker shuts down; another may take it at once.

        Raises:
            LeaseLost: another worker has the run.
        """
        async with self._held(held, although_cancelled=True) as (tx, run):
            for step in await tx.steps(run.run_id):
                if step.status == "running":
                    await tx.save_step(lifecycle.released(step))
            if run.cancel_requested:
                await self._cancel(tx, run)
                return
            await tx.save(replace(run, status="queued"))
            await tx.leave(run.run_id)
            await self._log.write(
                tx, run.run_id, f"{held.worker} shuts down; the run waits for another worker", "warning"
            )

    async def _is_given_up(self, tx: RunTransaction, run: RunUpdate) -> bool:
        """Judge a run whose worker went silent: a step that kills its workers has an end, too."""
        await self._log.write(tx, run.run_id, "its worker went silent; another takes over", "warning")
        for step in await tx.steps(run.run_id):
            if step.status == "running" and not lifecycle.may_try_again(step):
                error = "its worker went silent again and again"
                now = datetime.now(UTC)
                await tx.save_step(replace(step, status="failed", error=error, finished_at=now))
                await tx.save(lifecycle.failed(run, f"{step.name}: {error}", now))
                await tx.leave(run.run_id)
                return True
        return False

    async def _cancel(self, tx: RunTransaction, run: RunUpdate) -> None:
        await cancel_now(tx, run)
        await tx.leave(run.run_id)
        await self._log.write(tx, run.run_id, "the run was cancelled", "warning")

    @asynccontextmanager
    async def _held(
        self, held: Assignment, *, although_cancelled: bool = False
    ) -> AsyncIterator[tuple[RunTransaction, RunUpdate]]:
        async with self._runs.transaction() as tx:
            run = await tx.lock(held.run_id)
            if run is None or not await tx.renew(held.run_id, held.worker, self._lease_seconds):
                raise LeaseLost
            if run.cancel_requested and not although_cancelled:
                raise CancelRequested
            yield tx, run
