"""Composition of a worker process, and the chores that keep the product tidy."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from examples.flowcraft.api.adapters.postgres import Database, PostgresRuns
from examples.flowcraft.api.core.domain.channels import channels
from examples.flowcraft.api.core.services import ExecutionService
from examples.flowcraft.api.main import services
from examples.flowcraft.api.worker.catalogue import CATALOGUE
from examples.flowcraft.api.worker.worker import Worker
from flowcraft import Realtime

RUNS_KEPT = 200
_log = logging.getLogger(__name__)


async def run_worker(dsn: str, name: str, *, slots: int = 4) -> None:
    """Work until cancelled. Start as many processes as there is work for."""
    async with Database(dsn) as database, Realtime(channels, dsn=dsn) as realtime:
        the = services(realtime.service, database)
        worker = Worker(
            ExecutionService(realtime.service, PostgresRuns(database)), CATALOGUE, name=name, slots=slots
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(worker.run())
            tasks.create_task(_every(1.0, the.dashboard.refresh))
            tasks.create_task(_every(10.0, lambda: the.runs.prune(RUNS_KEPT)))


async def _every(seconds: float, chore: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            await chore()
        except Exception:  # noqa: BLE001  # the next time may go better; the database may be restarting
            _log.exception("a chore failed; next try in %g s", seconds)
        await asyncio.sleep(seconds)
