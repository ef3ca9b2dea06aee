"""The worker's loop: claim a run, do its steps, renew the lease, give the run back on a stop signal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress

from examples.flowcraft.api.core.domain.errors import CancelRequested, LeaseLost, StepFailed
from examples.flowcraft.api.core.domain.events import StepUpdate
from examples.flowcraft.api.core.services import Assignment, ExecutionService
from examples.flowcraft.api.worker.step import Flow, StepRun

_log = logging.getLogger(__name__)


class Worker:
    """Does up to `slots` runs at a time. Any number of workers share the queue; each run goes to one."""

    def __init__(
        self,
        execution: ExecutionService,
        flows: Iterable[Flow],
        *,
        name: str,
        slots: int = 4,
        poll_seconds: float = 0.25,
        renew_seconds: float = 1.0,
    ) -> None:
        self.name = name
        self._execution = execution
        self._work = {(flow.flow_id, step.name): step.work for flow in flows for step in flow.steps}
        self._slots = slots
        self._poll_seconds = poll_seconds
        self._renew_seconds = renew_seconds

    async def run(self) -> None:
        """Work until cancelled; runs in hand are then given back to the queue."""
        async with asyncio.TaskGroup() as slots:
            for number in range(1, self._slots + 1):
                slots.create_task(self._slot(f"{self.name}/{number}"))

    async def work_once(self, slot: str) -> bool:
        """Claim one run and work on it until it ends, waits or is taken over; False without a run."""
        held = await self._execution.claim(slot)
        if held is None:
            return False
        try:
            await self._work_on(held)
        except asyncio.CancelledError:
            # Should this fail, or be cancelled in turn, the lease runs out and another worker takes over.
            await self._release(held)
            raise
        return True

    async def _slot(self, slot: str) -> None:
        while True:
            try:
                if await self.work_once(slot):
                    continue
            except Exception:  # noqa: BLE001  # a slot outlives a run, and a restart of the database
                _log.exception("%s: the run is left to the next worker that claims it", slot)
            await asyncio.sleep(self._poll_seconds)

    async def _work_on(self, held: Assignment) -> None:
        try:
            async with asyncio.TaskGroup() as both:
                alive = both.create_task(self._stay_alive(held))
                await self._do_steps(held)
                alive.cancel()
        except* CancelRequested:
            await self._execution.cancel(held)
        except* LeaseLost:
            _log.warning("%s: run %s has another worker now", held.worker, held.run_id)

    async def _do_steps(self, held: Assignment) -> None:
        for step in held.todo:
            await self._execution.begin(held, step.position)
            error = await self._attempt(held, step)
            if error is not None:
                await self._execution.fail(held, step.position, error)
                return
            await self._execution.complete(held, step.position)

    async def _attempt(self, held: Assignment, step: StepUpdate) -> str | None:
        work = self._work.get((held.flow_id, step.name))
        if work is None:
            return f"this worker does not know the step {step.name!r} of {held.flow_id!r}"
        try:
            await work(StepRun(self._execution, held, step.position))
        except (CancelRequested, LeaseLost):
            raise
        except StepFailed as error:
            return str(error)
        except Exception as error:  # noqa: BLE001  # any error of a step is its failure, and goes into its log
            _log.exception("%s: step %r of run %s", held.worker, step.name, held.run_id)
            return f"{type(error).__name__}: {error}"
        return None

    async def _stay_alive(self, held: Assignment) -> None:
        while True:
            await asyncio.sleep(self._renew_seconds)
            await self._execution.renew(held)

    async def _release(self, held: Assignment) -> None:
        with suppress(LeaseLost):
            await self._execution.release(held)
