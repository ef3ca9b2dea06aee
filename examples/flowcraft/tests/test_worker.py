"""The worker, on a real database: each run has one worker, whatever happens to workers."""

from __future__ import annotations

import asyncio
from collections import Counter
from uuid import UUID

import pytest

from examples.flowcraft.api.core.domain import lifecycle
from examples.flowcraft.api.core.domain.errors import LeaseLost, StepFailed
from examples.flowcraft.api.worker import StepRun, Worker
from examples.flowcraft.tests.conftest import Product


async def easy(step: StepRun) -> None:
    await step.progress(50, "half of it")


class Stuck:
    """A step that goes on until it is stopped."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.stopped = asyncio.Event()

    async def __call__(self, step: StepRun) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped.set()


class Failing:
    """A step that fails so many times, then works."""

    def __init__(self, times: int, error: Exception) -> None:
        self.left = times
        self.error = error
        self.calls = 0

    async def __call__(self, step: StepRun) -> None:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self.error


async def work_off_the_queue(worker: Worker, slot: str) -> None:
    while await worker.work_once(slot):
        pass


async def silence(product: Product) -> None:
    """Let all leases run out, as if their workers had been dead for a while."""
    await product.execute("update leases set until = now() - interval '1 second'")


@pytest.fixture
def no_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "BACK_OFF_SECONDS", (0.0, 0.0, 0.0))


async def test_three_workers_do_every_step_of_thirty_runs_once(product: Product) -> None:
    done: Counter[tuple[UUID, int]] = Counter()

    async def count(step: StepRun) -> None:
        done[step.assignment.run_id, step.position] += 1
        await asyncio.sleep(0)

    flow = await product.add_flow("counting", count, count)
    triggered = [(await product.services.runs.trigger("counting")).run_id for _ in range(30)]
    slots = [
        (product.worker(flow), f"{name}/{slot}") for name in ("one", "two", "three") for slot in (1, 2, 3)
    ]
    await asyncio.gather(*(work_off_the_queue(worker, slot) for worker, slot in slots))
    assert done == Counter({(run_id, position): 1 for run_id in triggered for position in (1, 2)})
    assert await product.services.runs.active() == 0
    claims = [line for run_id in triggered for line in await product.lines(run_id) if "claimed by" in line]
    assert len(claims) == 30


async def test_a_run_of_easy_steps_succeeds_and_says_so(product: Product) -> None:
    flow = await product.add_flow("easy", easy, easy)
    run_id = (await product.services.runs.trigger("easy")).run_id
    assert await product.worker(flow).work_once("worker/1")
    assert await product.status(run_id) == ("succeeded", ["succeeded", "succeeded"])
    detail = await product.detail(run_id)
    assert (detail.run.progress, [step.progress for step in detail.steps]) == (100, [100, 100])
    assert [(line.number, line.position, line.text) for line in detail.log] == [
        (1, None, "Easy was triggered by a person"),
        (2, None, "claimed by worker/1"),
        (3, 1, "step 1"),
        (4, 1, "half of it"),
        (5, 2, "step 2"),
        (6, 2, "half of it"),
        (7, None, "the run succeeded"),
    ]


@pytest.mark.usefixtures("no_back_off")
@pytest.mark.parametrize("error", [StepFailed("out of paper"), ValueError("out of paper")])
async def test_a_step_that_fails_is_tried_again_and_the_run_goes_on(
    product: Product, error: Exception
) -> None:
    flow = await product.add_flow("printing", easy, Failing(2, error))
    run_id = (await product.services.runs.trigger("printing")).run_id
    worker = product.worker(flow)
    assert await worker.work_once("worker/1")
    assert await product.status(run_id) == ("queued", ["succeeded", "retrying"])
    assert (await product.detail(run_id)).run.retry_at is not None
    assert [await worker.work_once("worker/1") for _ in range(3)] == [True, True, False]
    assert await product.status(run_id) == ("succeeded", ["succeeded", "succeeded"])
    steps = (await product.detail(run_id)).steps
    assert [step.attempt for step in steps] == [1, 3]


async def test_a_run_that_waits_for_its_back_off_is_not_claimed(product: Product) -> None:
    flow = await product.add_flow("printing", Failing(1, StepFailed("out of paper")))
    await product.services.runs.trigger("printing")
    worker = product.worker(flow)
    assert [await worker.work_once("worker/1") for _ in range(2)] == [True, False]
    await product.execute("update runs set retry_at = now()")
    assert await worker.work_once("worker/1")


@pytest.mark.usefixtures("no_back_off")
async def test_a_step_out_of_attempts_fails_the_run_and_a_retry_goes_on_with_it(product: Product) -> None:
    first, second = Failing(0, StepFailed()), Failing(3, StepFailed("out of paper"))
    flow = await product.add_flow("printing", first, second)
    run_id = (await product.services.runs.trigger("printing")).run_id
    worker = product.worker(flow)
    assert [await worker.work_once("worker/1") for _ in range(4)] == [True, True, True, False]
    assert await product.status(run_id) == ("failed", ["succeeded", "failed"])
    assert (await product.detail(run_id)).run.error == "step 2: out of paper"
    await product.services.runs.retry(run_id)
    assert await worker.work_once("worker/1")
    assert await product.status(run_id) == ("succeeded", ["succeeded", "succeeded"])
    assert (first.calls, second.calls) == (1, 4)


async def test_a_cancelled_run_is_stopped_in_the_middle_of_a_step(product: Product) -> None:
    stuck = Stuck()
    flow = await product.add_flow("endless", stuck, easy)
    run_id = (await product.services.runs.trigger("endless")).run_id
    working = asyncio.create_task(product.worker(flow).work_once("worker/1"))
    async with asyncio.timeout(10):
        await stuck.begun.wait()
        await product.services.runs.cancel(run_id)
        assert await working
    assert stuck.stopped.is_set()
    assert await product.status(run_id) == ("cancelled", ["cancelled", "cancelled"])


async def test_a_worker_that_shuts_down_gives_its_run_back_and_the_attempt_does_not_count(
    product: Product,
) -> None:
    stuck = Stuck()
    flow = await product.add_flow("endless", stuck)
    run_id = (await product.services.runs.trigger("endless")).run_id
    working = asyncio.create_task(product.worker(flow).run())
    async with asyncio.timeout(10):
        await stuck.begun.wait()
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
    assert await product.status(run_id) == ("queued", ["pending"])
    assert [step.attempt for step in (await product.detail(run_id)).steps] == [0]
    assert await product.execution.claim("another") is not None


async def test_the_run_of_a_dead_worker_goes_to_another_and_the_dead_one_can_write_nothing(
    product: Product,
) -> None:
    await product.add_flow("careful", easy, easy)
    run_id = (await product.services.runs.trigger("careful")).run_id
    dead = await product.execution.claim("dead")
    assert dead is not None
    await product.execution.begin(dead, 1)
    assert await product.execution.claim("another") is None
    await silence(product)
    heir = await product.execution.claim("another")
    assert heir is not None
    before = await product.detail(run_id)
    for late in (
        product.execution.renew(dead),
        product.execution.complete(dead, 1),
        product.execution.release(dead),
    ):
        with pytest.raises(LeaseLost):
            await late
    assert await product.detail(run_id) == before
    await product.execution.begin(heir, 1)
    assert [step.attempt for step in (await product.detail(run_id)).steps] == [2, 0]


async def test_a_step_that_kills_every_worker_has_an_end(product: Product) -> None:
    await product.add_flow("deadly", easy)
    run_id = (await product.services.runs.trigger("deadly")).run_id
    for worker in ("one", "two", "three"):
        held = await product.execution.claim(worker)
        assert held is not None
        await product.execution.begin(held, 1)
        await silence(product)
    assert await product.execution.claim("four") is None
    assert await product.status(run_id) == ("failed", ["failed"])


async def test_a_cancelled_run_whose_worker_died_is_cancelled_by_the_next(product: Product) -> None:
    await product.add_flow("careful", easy)
    run_id = (await product.services.runs.trigger("careful")).run_id
    held = await product.execution.claim("dead")
    assert held is not None
    await product.services.runs.cancel(run_id)
    await silence(product)
    assert await product.execution.claim("another") is None
    assert await product.status(run_id) == ("cancelled", ["cancelled"])
