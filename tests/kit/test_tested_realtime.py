"""The fixtures `realtime` and `realtime_db`: clients of the real core, which expect without a sleep."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Literal

import asyncpg
import pytest

from flowcraft.adapters.memory import MemoryTransaction
from flowcraft.channels import Channels
from flowcraft.cursors import Cursor, Snapshot
from flowcraft.declarations import Table
from flowcraft.errors import RealtimeError
from flowcraft.events import Event
from flowcraft.ports import RealtimeService
from flowcraft.testing.expectations import EventMissing, EventUnexpected
from flowcraft.testing.realtime import DatabaseRealtime, InMemoryRealtime
from flowcraft.testing.subscription import SubscriptionRefused
from flowcraft.testing.under_test import RealtimeUnderTest
from flowcraft.viewers import Viewer


class RunUpdate(Event):
    run_id: int
    status: Literal["queued", "running", "failed"] = "queued"


class StepCompleted(Event):
    step: str


class Typing(Event):
    who: str


channels = Channels()
run_update = channels.declare("run_update", RunUpdate, source=Table("runs", run_id="id"))
run = channels.declare("runs.{run_id}", RunUpdate | StepCompleted, params={"run_id": int})
typing_update = channels.declare("typing_update", Typing, durable=False)
secret_update = channels.declare("secret_update", StepCompleted)
guarded = channels.declare("flows.{flow_id}", StepCompleted, params={"flow_id": int})


@secret_update.guard
def may_know(viewer: Viewer) -> bool:
    return viewer.claims.get("role") == "admin"


@guarded.guard
async def may_watch(viewer: Viewer, flow_id: int) -> bool:
    await asyncio.sleep(0)
    if flow_id == 13:
        raise LookupError("no such flow")
    return viewer.subject == f"owner of {flow_id}"


@pytest.fixture
def realtime_channels() -> Channels:
    return channels


@pytest.fixture
def realtime_tables() -> str:
    return "create table runs (id int primary key, status text not null)"


@pytest.fixture(params=["in memory", "on a database"])
def either(request: pytest.FixtureRequest) -> RealtimeUnderTest:
    made: RealtimeUnderTest = request.getfixturevalue(
        "realtime" if request.param == "in memory" else "realtime_db"
    )
    return made


async def test_an_event_that_is_broadcast_is_expected_as_a_typed_value(either: RealtimeUnderTest) -> None:
    runs = await either.subscribe(run_update)
    await either.broadcast(run_update, RunUpdate(run_id=1, status="failed"))
    assert await runs.expect() == RunUpdate(run_id=1, status="failed")
    await runs.expect_nothing()


async def test_expect_reads_on_in_order_and_passes_over_what_does_not_fit(either: RealtimeUnderTest) -> None:
    watched = await either.subscribe(run(7))
    for event in (RunUpdate(run_id=7), StepCompleted(step="a"), StepCompleted(step="b"), RunUpdate(run_id=7)):
        await either.broadcast(run(7), event)
    step = await watched.expect(StepCompleted)
    assert step.step == "a"
    assert (await watched.expect(StepCompleted, lambda event: event.step == "b")).step == "b"
    await watched.expect_nothing(StepCompleted)
    await watched.expect_nothing(step="b")
    assert await watched.expect(run_id=7, status="queued") == RunUpdate(run_id=7)
    await watched.expect_nothing()
    assert len(watched.received) == 4


async def test_it_waits_for_an_event_that_is_stated_later(either: RealtimeUnderTest) -> None:
    runs = await either.subscribe(run_update)
    waiting = asyncio.create_task(runs.expect(status="running"))
    await runs.expect_nothing()
    assert not waiting.done()
    await either.broadcast(run_update, RunUpdate(run_id=1, status="running"))
    assert (await waiting).run_id == 1


async def test_what_was_committed_before_the_subscription_is_heard_since_a_cursor_only(
    either: RealtimeUnderTest,
) -> None:
    await either.broadcast(run_update, RunUpdate(run_id=1))
    cursor = await either.cursor()
    await either.broadcast(run_update, RunUpdate(run_id=2))
    late, since = await either.subscribe(run_update), await either.subscribe(run_update, since=cursor)
    await late.expect_nothing()
    assert (await since.expect()).run_id == 2
    await since.expect_nothing()


async def test_guards_are_asked_about_the_viewer(either: RealtimeUnderTest) -> None:
    with pytest.raises(SubscriptionRefused, match=r"subscribe with realtime\.as_viewer"):
        await either.subscribe(secret_update)
    with pytest.raises(SubscriptionRefused, match="its guard refused 'eve'"):
        await either.as_viewer("eve", role="guest").subscribe(secret_update)
    secrets = await either.as_viewer("ada", role="admin").subscribe(secret_update)
    await either.broadcast(secret_update, StepCompleted(step="told"))
    assert (await secrets.expect()).step == "told"
    await either.as_viewer(Viewer("owner of 7")).subscribe(guarded(7))
    with pytest.raises(SubscriptionRefused) as refusal:
        await either.as_viewer(Viewer("owner of 7")).subscribe(guarded(8))
    assert (refusal.value.channel, refusal.value.answer) == ("flows.8", "forbidden")


async def test_a_guard_that_raises_says_no_and_its_exception_is_in_the_log(
    realtime: InMemoryRealtime, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "flowcraft"), pytest.raises(SubscriptionRefused, match="or raised"):
        await realtime.as_viewer("ada").subscribe(guarded(13))
    assert "no such flow" in caplog.text


async def test_an_ephemeral_event_reaches_who_is_there(either: RealtimeUnderTest) -> None:
    typing = await either.subscribe(typing_update)
    await either.broadcast(typing_update, Typing(who="ada"))
    assert (await typing.expect()).who == "ada"


async def test_a_transaction_in_memory_commits_and_rolls_back_as_a_whole(realtime: InMemoryRealtime) -> None:
    runs = await realtime.subscribe(run_update)
    async with realtime.transaction() as transaction:
        await realtime.broadcast(run_update, RunUpdate(run_id=1), via=transaction)
        await runs.expect_nothing()
    assert (await runs.expect()).run_id == 1
    with pytest.raises(ZeroDivisionError):
        await fail_in_the_middle(realtime, runs.channel.name)
    await runs.expect_nothing()


async def fail_in_the_middle(realtime: InMemoryRealtime, _name: str) -> None:
    async with realtime.transaction() as transaction:
        assert isinstance(transaction, MemoryTransaction)
        await realtime.broadcast(run_update, RunUpdate(run_id=2), via=transaction)
        raise ZeroDivisionError


@pytest.fixture
async def connection(realtime_db: DatabaseRealtime) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    await realtime_db.prepare()
    connection = await asyncpg.connect(realtime_db.dsn)
    yield connection
    await connection.close()


async def test_a_row_that_is_committed_is_an_event_and_one_that_is_not_is_none(
    realtime_db: DatabaseRealtime, connection: asyncpg.Connection[asyncpg.Record]
) -> None:
    runs = await realtime_db.subscribe(run_update)
    async with connection.transaction():
        await connection.execute("insert into runs values (1, 'running')")
        await runs.expect_nothing()
    assert await runs.expect(run_id=1) == RunUpdate(run_id=1, status="running")


async def test_expect_nothing_sees_also_what_an_older_transaction_commits_late(
    realtime_db: DatabaseRealtime, connection: asyncpg.Connection[asyncpg.Record]
) -> None:
    runs = await realtime_db.subscribe(run_update)
    old = connection.transaction()
    await old.start()
    await connection.execute("insert into runs values (1, 'queued')")
    await realtime_db.broadcast(run_update, RunUpdate(run_id=2))
    await runs.expect(run_id=2)
    await runs.expect_nothing()
    await old.commit()
    with pytest.raises(EventUnexpected, match="run_id=1"):
        await runs.expect_nothing()


async def test_on_a_database_it_does_not_claim_to_know_about_ephemeral_events(
    realtime_db: DatabaseRealtime, realtime: InMemoryRealtime
) -> None:
    with pytest.raises(TypeError, match="typing_update is ephemeral"):
        await (await realtime_db.subscribe(typing_update)).expect_nothing()
    typing = await realtime.subscribe(typing_update)
    await realtime.broadcast(typing_update, Typing(who="ada"))
    with pytest.raises(EventUnexpected, match="ada"):
        await typing.expect_nothing()


async def test_what_is_missing_is_told_with_what_was_heard_instead(either: RealtimeUnderTest) -> None:
    watched = await either.subscribe(run(7))
    await either.broadcast(run(7), RunUpdate(run_id=7))
    await either.broadcast(run_update, RunUpdate(run_id=8))
    with pytest.raises(EventMissing) as missing:
        await watched.expect(StepCompleted, step="a", timeout=0)
    assert str(missing.value).splitlines() == [
        "no event on runs.7 that fits StepCompleted, step='a', among the events committed by now",
        "received on runs.7 since the subscription:",
        "    RunUpdate(run_id=7, status='queued')",
        "committed meanwhile on other channels:",
        '    run_update: {"type":"RunUpdate","run_id":8,"status":"queued"}',
        "next: compare the expected event with the received ones",
    ]


async def test_what_is_missing_comes_with_advice(realtime: InMemoryRealtime) -> None:
    async def advice(timeout: float = 0, **fields: object) -> str:
        with pytest.raises(EventMissing) as missing:
            await runs.expect(timeout=timeout, **fields)
        return str(missing.value)

    runs = await realtime.subscribe(run_update)
    assert "uses this `realtime`" in await advice()
    assert "within 0.001 s" in await advice(timeout=0.001)
    transaction = realtime.log.begin()
    assert "1 transaction(s) have begun and not ended" in await advice()
    transaction.rollback()
    await realtime.broadcast(run(7), RunUpdate(run_id=7))
    assert "check that the code broadcasts on run_update" in await advice()
    for number in range(20):
        await realtime.broadcast(run_update, RunUpdate(run_id=number))
    await runs.expect(run_id=19)
    told = await advice(run_id=3)
    assert "expect() only reads forward" in told
    assert "    … and 10 before\n    RunUpdate(run_id=10, status='queued')\n" in told


async def test_an_unexpected_event_is_told(realtime: InMemoryRealtime) -> None:
    runs = await realtime.subscribe(run_update)
    await realtime.broadcast(run_update, RunUpdate(run_id=1))
    with pytest.raises(EventUnexpected) as unexpected:
        await runs.expect_nothing(status="queued")
    assert str(unexpected.value).startswith(
        "an event on run_update that fits status='queued', where none was expected:\n    RunUpdate(run_id=1,"
    )


async def test_what_cannot_be_expected_is_a_mistake_of_the_test(realtime: InMemoryRealtime) -> None:
    runs = await realtime.subscribe(run_update)
    with pytest.raises(TypeError, match="run_update carries RunUpdate, never StepCompleted"):
        await runs.expect(StepCompleted)
    with pytest.raises(TypeError, match="has a field 'state'; the fields are run_id, status"):
        await runs.expect(state="queued")
    elsewhere = Channels().declare("run_update", RunUpdate)
    with pytest.raises(TypeError, match="is not a channel of this realtime"):
        await realtime.subscribe(elsewhere)


async def test_the_condition_of_a_test_may_fail_with_its_own_exception(realtime: InMemoryRealtime) -> None:
    runs = await realtime.subscribe(run_update)
    await realtime.broadcast(run_update, RunUpdate(run_id=1))
    with pytest.raises(KeyError):
        await runs.expect(lambda event: {0: True}[event.run_id])


async def test_a_viewer_whose_token_runs_out_is_sent_away_as_in_production(
    realtime: InMemoryRealtime,
) -> None:
    ada = realtime.as_viewer(Viewer("ada", {"role": "admin"}, expires_at=0.0))
    with pytest.raises(ConnectionResetError, match="4401"):
        await (await ada.subscribe(secret_update)).expect()


async def test_a_cursor_that_cannot_be_continued_is_refused_with_the_reason(
    realtime: InMemoryRealtime,
) -> None:
    before = await realtime.cursor()
    await realtime.broadcast(run_update, RunUpdate(run_id=1))
    realtime.log.trim(before=10_000)
    await realtime.close()  # what the server remembers would still reach back that far
    with pytest.raises(SubscriptionRefused, match=r"\(expired\)"):
        await realtime.subscribe(run_update, since=before)


async def test_it_is_the_service_that_code_under_test_takes(realtime: InMemoryRealtime) -> None:
    service: RealtimeService = realtime
    with pytest.raises(RealtimeError):
        await service.broadcast(run_update, RunUpdate(run_id=1, status="done"))  # type: ignore[arg-type]


def test_without_asyncio_there_is_a_sentence(realtime: InMemoryRealtime) -> None:
    with pytest.raises(RuntimeError, match="needs asyncio"):
        realtime.subscribe(run_update).send(None)  # as another loop, such as trio, would begin it


def test_one_realtime_belongs_to_one_event_loop(realtime: InMemoryRealtime) -> None:
    async def subscribe() -> None:
        await realtime.subscribe(run_update)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(subscribe())
    with pytest.raises(RuntimeError, match="another event loop"):
        asyncio.run(subscribe())
    loop.run_until_complete(realtime.close())
    loop.close()


async def test_a_row_that_is_gone_is_expected_by_its_key_and_is_no_event(realtime: InMemoryRealtime) -> None:
    rows = await realtime.subscribe(run_update)
    await realtime.broadcast(run_update, RunUpdate(run_id=1))
    await realtime.broadcast_gone(run_update, run_id=1)
    await realtime.broadcast_gone(run_update, run_id=2)
    assert await rows.expect_gone(run_id=2) == {"run_id": 2}
    with pytest.raises(EventMissing, match=r"a row that is gone with run_id=1, among(.|\n)*gone: run_id=2"):
        await rows.expect_gone(run_id=1, timeout=0)
    assert rows.received == [RunUpdate(run_id=1)]
    assert rows.gone == [{"run_id": 1}, {"run_id": 2}]
    await rows.expect_nothing()
    await realtime.broadcast_gone(run_update, run_id=3)
    await rows.expect_nothing(RunUpdate)
    with pytest.raises(EventUnexpected, match="gone: run_id=3"):
        await rows.expect_nothing()
    async with realtime.transaction() as transaction:
        await realtime.broadcast_gone(run_update, via=transaction, run_id=4)
    assert await rows.expect_gone(run_id=4) == {"run_id": 4}


async def test_an_event_that_does_not_fit_is_named_by_a_failed_expectation(
    realtime: InMemoryRealtime,
) -> None:
    rows = await realtime.subscribe(run_update)
    realtime.log.broadcast("run_update", '{"run_id":"one"}')
    with pytest.raises(EventMissing, match="skipped: payload_invalid"):
        await rows.expect(timeout=0)
    with pytest.raises(EventUnexpected, match="skipped: payload_invalid"):
        await (await realtime.subscribe(run_update, since=await begin(realtime))).expect_nothing()


async def begin(realtime: InMemoryRealtime) -> Cursor:
    """Return the cursor before the first transaction."""
    return Cursor((await realtime.cursor()).lineage, Snapshot(700))


async def test_a_deleted_row_is_gone_from_a_database(
    realtime_db: DatabaseRealtime, connection: asyncpg.Connection[asyncpg.Record]
) -> None:
    runs = await realtime_db.subscribe(run_update)
    await connection.execute("insert into runs values (1, 'running')")
    await connection.execute("delete from runs")
    assert await runs.expect_gone(run_id=1) == {"run_id": 1}
    assert runs.received == [RunUpdate(run_id=1, status="running")]
