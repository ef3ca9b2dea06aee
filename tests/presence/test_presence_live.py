"""Presence on running nodes: who is shown on whose page, in memory and on PostgreSQL."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from flowcraft.channels import Channels
from flowcraft.declared_channels import PresenceFamily
from flowcraft.events import Event
from flowcraft.runtime import presence as presence_module
from flowcraft.testing.realtime import DatabaseRealtime, InMemoryRealtime
from flowcraft.testing.subscription import SubscriptionRefused
from flowcraft.testing.under_test import RealtimeUnderTest
from flowcraft.viewers import Viewer


class Step(Event):
    run_id: int


class Person(Event):
    id: str
    name: str


ADA, GRACE = Person(id="ada", name="Ada"), Person(id="grace", name="Grace")
UNSEEN = {"ghost", "raises", "wrong", "huge", "long", "slow", "exits"}


def declared() -> tuple[Channels, PresenceFamily[int, Step, Person]]:
    channels = Channels()
    run = channels.declare("runs.{run_id}", Step, params={"run_id": int}, presence=Person)

    @run.guard
    def may(viewer: Viewer, run_id: int) -> bool:
        return run_id != 13

    @run.present
    async def who(viewer: Viewer) -> Person | None:
        await asyncio.sleep(0)
        match viewer.subject:
            case "ghost":
                return None
            case "raises":
                raise RuntimeError("no such person")
            case "exits":
                raise SystemExit
            case "wrong":
                return cast(Person, "Ada")
            case "huge":
                return Person(id="huge", name="x" * 4096)
            case "long":
                return Person(id="x" * 255, name="long")
            case "slow":
                await asyncio.Event().wait()
            case _:
                pass
        return Person(id=viewer.subject, name=viewer.subject.title())

    return channels, run


CHANNELS, run = declared()


@pytest.fixture(params=["memory", "postgres"])
async def realtime(request: pytest.FixtureRequest) -> AsyncIterator[RealtimeUnderTest]:
    async with await made(request) as realtime:
        yield realtime


async def made(request: pytest.FixtureRequest) -> RealtimeUnderTest:
    if request.param == "memory":
        return InMemoryRealtime(CHANNELS)
    return DatabaseRealtime(CHANNELS, request.getfixturevalue("database"))


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for a counter of the node, which nothing announces."""
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_who_comes_and_who_leaves_is_on_every_page(realtime: RealtimeUnderTest) -> None:
    ada = await realtime.as_viewer("ada").present(run(7))
    await ada.expect_rows([ADA])
    grace = await realtime.as_viewer("grace").present(run(7))
    for page in (ada, grace):
        await page.expect_rows([ADA, GRACE])
    grace.close()
    await ada.expect_rows([ADA])


async def test_two_pages_of_one_person_are_one_member(realtime: RealtimeUnderTest) -> None:
    watching = await realtime.as_viewer("linus").rows(run(7).members)
    first = await realtime.as_viewer("ada").present(run(7))
    second = await realtime.as_viewer("ada").present(run(7))
    await watching.expect_rows([ADA])
    first.close()
    other = await realtime.as_viewer("grace").present(run(7))
    await watching.expect_rows([ADA, GRACE])
    other.close()
    await watching.expect_rows([ADA])  # later than the end of the first page
    second.close()
    await watching.expect_rows([])


async def test_each_channel_has_members_of_its_own(realtime: RealtimeUnderTest) -> None:
    seven = await realtime.as_viewer("ada").present(run(7))
    eight = await realtime.as_viewer("grace").present(run(8))
    await seven.expect_rows([ADA])
    await eight.expect_rows([GRACE])


async def test_who_only_looks_is_not_shown(realtime: RealtimeUnderTest) -> None:
    looking = await realtime.as_viewer("linus").rows(run(7).members)
    await realtime.as_viewer("ada").present(run(7))
    await looking.expect_rows([ADA])


async def test_the_guard_of_the_channel_decides_about_its_members(realtime: RealtimeUnderTest) -> None:
    for page in (realtime.as_viewer("ada").present(run(13)), realtime.as_viewer("ada").rows(run(13).members)):
        with pytest.raises(SubscriptionRefused):
            await page
    with pytest.raises(SubscriptionRefused):
        await realtime.rows(run(7).members)


@pytest.mark.parametrize("subject", sorted(UNSEEN))
async def test_who_cannot_be_shown_has_a_page_that_works(
    realtime: RealtimeUnderTest,
    subject: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = await realtime._start()  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(node._presence, "_seconds", 0.01)  # pyright: ignore[reportPrivateUsage]
    page: Any = await realtime.as_viewer(subject).present(run(7))
    await realtime.as_viewer("ada").present(run(7))
    await page.expect_rows([ADA])
    fails = subject != "ghost"
    await until(lambda: node.counts.failures["presence"] == fails)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == fails
    if fails:
        assert "presence: who is shown on runs_members.7 failed" in errors[0].getMessage()


async def test_a_node_that_was_removed_although_it_lives_writes_its_members_again(
    realtime: RealtimeUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence_module, "BEAT_SECONDS", 0.1)
    node = await realtime._start()  # pyright: ignore[reportPrivateUsage]
    page = await realtime.as_viewer("ada").present(run(7))
    await page.expect_rows([ADA])
    store: Any = node._presence._store  # pyright: ignore[reportPrivateUsage]
    name = node._presence._node  # pyright: ignore[reportPrivateUsage]
    counts = node.counts
    written = counts.member_writes
    while not await store.forget({name: (await store.beat("another"))[name]}):
        pass
    await until(lambda: counts.member_writes > written)
    await page.expect_rows([ADA])


async def test_the_members_of_a_node_that_ended_leave_after_the_lease(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("BEAT_SECONDS", 0.05), ("LEASE_SECONDS", 0.4), ("MOST_SILENT_SECONDS", 0.3)):
        monkeypatch.setattr(presence_module, name, seconds)
    realtime = DatabaseRealtime(CHANNELS, database)
    looking = await realtime.as_viewer("linus").rows(run(7).members)
    other = DatabaseRealtime(CHANNELS, realtime.dsn)
    await other.as_viewer("ada").present(run(7))
    await other.as_viewer("grace").present(run(7))
    await looking.expect_rows([ADA, GRACE])
    again = await realtime.as_viewer("ada").present(run(7))
    await other.close()  # without a word, as a process that is killed
    await looking.expect_rows([ADA])
    await again.expect_rows([ADA])
    await realtime.close()


@pytest.mark.parametrize("realtime", ["postgres"], indirect=True)
async def test_a_rolling_deploy_is_no_news(realtime: RealtimeUnderTest) -> None:
    assert isinstance(realtime, DatabaseRealtime)
    old = DatabaseRealtime(CHANNELS, realtime.dsn)
    looking = await realtime.as_viewer("linus").rows(run(7).members)
    await old.as_viewer("ada").present(run(7))
    await looking.expect_rows([ADA])
    before = await realtime.cursor()
    node = await old._start()  # pyright: ignore[reportPrivateUsage]
    await node.drain(0.01)
    page = await realtime.as_viewer("ada").present(run(7))
    await page.expect_rows([ADA])
    await old.close()
    watched = await realtime.as_viewer("grace").present(run(8))  # written after all of that
    await watched.expect_rows([GRACE])
    records = await realtime.committed_since(before)
    assert [record.channel for record in records] == ["runs_members.8"]


async def test_a_name_of_any_letters_arrives_as_it_is(realtime: RealtimeUnderTest) -> None:
    page = await realtime.as_viewer('zo\u00eb \U0001f600 \x00"\\').present(run(7))
    await page.expect_rows(lambda rows: [row.name for row in rows] == ['Zo\u00eb \U0001f600 \x00"\\'])
    page.close()
    other = await realtime.as_viewer("ada").present(run(7))
    await other.expect_rows([ADA])


async def test_nothing_of_those_who_left_stays_in_memory(realtime: RealtimeUnderTest) -> None:
    node = await realtime._start()  # pyright: ignore[reportPrivateUsage]
    presence: Any = node._presence  # pyright: ignore[reportPrivateUsage]
    looking = await realtime.as_viewer("linus").rows(run(7).members)
    pages = [await realtime.as_viewer(f"v{n % 7}").present(run(7)) for n in range(15)]
    pages += [await realtime.as_viewer(f"v{n}").present(run(8)) for n in range(5)]
    await looking.expect_rows(lambda rows: len(rows) == 7)
    for page in pages:
        page.close()
    await looking.expect_rows([])
    await until(lambda: len(presence) == 0 and not presence._attendance._written)
    attendance: Any = presence._attendance
    kept = ("_members", "_seats", "_written", "_unwritten", "_leaving")
    assert [len(getattr(attendance, name)) for name in kept] == [0, 0, 0, 0, 0]
    assert presence._asked == {}
