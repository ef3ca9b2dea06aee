"""Steps that do a little real work."""

from __future__ import annotations

import asyncio
import hashlib
import random
import statistics
from collections import Counter
from decimal import Decimal

from examples.flowcraft.api.core.domain.errors import StepFailed
from examples.flowcraft.api.worker.step import StepRun

_PRICES = {"basic": Decimal("9.90"), "team": Decimal("49.00"), "enterprise": Decimal("480.00")}


async def price_orders(step: StepRun) -> None:
    """Add up what the customers owe."""
    orders = Counter(random.choices(list(_PRICES), weights=(70, 25, 5), k=random.randint(200, 900)))
    owed = Decimal(0)
    for done, (plan, count) in enumerate(orders.items(), start=1):
        await asyncio.sleep(0.3)
        owed += _PRICES[plan] * count
        await step.progress(
            100 * done // len(orders), f"{count} orders of the plan {plan}: {_PRICES[plan] * count:,.2f}"
        )
    await step.log(f"{orders.total()} orders, {owed:,.2f} in all")


async def validate_rows(step: StepRun) -> None:
    """Check addresses, and refuse a file that is mostly wrong."""
    rows = [f"{name}@example.{random.choice(('com', 'org', ''))}" for name in range(random.randint(300, 600))]
    wrong = [row for row in rows if row.endswith(".")]
    for percent in (25, 50, 75, 100):
        await asyncio.sleep(0.3)
        await step.progress(percent)
    await step.log(f"{len(wrong)} of {len(rows)} addresses are incomplete and are left out", "warning")
    if len(wrong) > 0.38 * len(rows):
        raise StepFailed(f"{len(wrong)} of {len(rows)} rows are invalid; at most 38 % are accepted")


async def compare_checksums(step: StepRun) -> None:
    """Hash what was restored and compare."""
    blocks = [random.randbytes(64 * 1024) for _ in range(8)]
    digest = hashlib.sha256()
    for done, block in enumerate(blocks, start=1):
        digest.update((await asyncio.to_thread(hashlib.sha256, block)).digest())
        await asyncio.sleep(0.15)
        await step.progress(100 * done // len(blocks))
    await step.log(f"sha256 {digest.hexdigest()[:16]}… matches")


async def evaluate(step: StepRun) -> None:
    """Score a model on held-out data, and refuse one that got worse."""
    folds: list[float] = []
    for fold in range(1, 6):
        await asyncio.sleep(0.25)
        folds.append(random.gauss(0.86, 0.05))
        await step.progress(20 * fold, f"fold {fold}: {folds[-1]:.3f}")
    score = statistics.mean(folds)
    if score < 0.835:
        raise StepFailed(f"the model scores {score:.3f}; the one in use has 0.835")
    await step.log(f"mean {score:.3f}, spread {statistics.stdev(folds):.3f}")
