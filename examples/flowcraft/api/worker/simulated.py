"""Simulated work: it takes time, reports progress, and sometimes fails, as real work does."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from examples.flowcraft.api.core.domain.errors import StepFailed
from examples.flowcraft.api.worker.step import StepRun

_SECONDS_BETWEEN_REPORTS = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """A step's function that pretends: `does` is a sentence such as "rendered {done} of {total} invoices"."""

    does: str
    total: int
    seconds: float
    fails: float = 0.0
    because: str = "the connection was reset by the peer"

    async def __call__(self, step: StepRun) -> None:
        """Work through the total, give or take a quarter."""
        total = max(1, round(self.total * random.uniform(0.75, 1.25)))
        seconds = self.seconds * random.uniform(0.75, 1.25)
        reports = max(1, round(seconds / _SECONDS_BETWEEN_REPORTS))
        breaks_at = random.randint(1, reports) if random.random() < self.fails else None
        for report in range(1, reports + 1):
            await asyncio.sleep(seconds / reports)
            done = total * report // reports
            if report == breaks_at:
                raise StepFailed(self.because.format(done=done, total=total))
            await step.progress(
                100 * report // reports, self.does.format(done=f"{done:,}", total=f"{total:,}")
            )
