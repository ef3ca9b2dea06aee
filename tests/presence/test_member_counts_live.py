"""A channel with many members, on running nodes: pages receive a count, and few bytes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from flowcraft.channels import Channels
from flowcraft.core.attendance import Change
from flowcraft.declared_channels import PresenceFamily
from flowcraft.events import Event
from flowcraft.testing.inbox import Inbox
from flowcraft.testing.realtime import DatabaseRealtime, InMemoryRealtime
from flowcraft.testing.rows_subscription import RowsInbox, RowsSubscription
from flowcraft.testing.under_test import RealtimeUnderTest
from flowcraft.viewers import Viewer

NAMES = ("ada", "grace", "linus", "barbara", "edsger", "donald")


class Stepped(Event):
    run_id: int


class Person(Event):
    id: str


def declared() -> tuple[Channels, PresenceFamily[int, Stepped, Person]]:
    channels = Channels()
    run = channels.declare("runs.{run_id}", Stepped, params={"run_id": int}, presence=Person)
    run.guard(lambda viewer, run_id: True)
    run.present(lambda viewer: Person(id=viewer.subject))
    return channels, run


CHANNELS, run = declared()
Page = RowsSubscription[Person]


@pytest.fixture(params=["memory", "postgres"])
async def realtime(request: pytest.FixtureRequest) -> AsyncIterator[RealtimeUnderTest]:
    """Lists at most five members, and again when there are four."""
    async with (
        InMemoryRealtime(CHANNELS, members_listed=5)
        if request.param == "memory"
        else DatabaseRealtime(CHANNELS, request.getfixturevalue("database"), members_listed=5)
    ) as realtime:
        yield realtime


async def present(realtime: RealtimeUnderTest, names: tuple[str, ...]) -> list[Page]:
    return [await realtime.as_viewer(name).present(run(7)) for name in names]


def everybody(names: tuple[str, ...]) -> list[Person]:
    return [Person(id=name) for name in names]


async def test_pages_have_a_count_above_the_bound_and_a_list_again_below_it(
    realtime: RealtimeUnderTest,
) -> None:
    pages = await present(realtime, NAMES[:5])
    for page in pages:
        await page.expect_rows(everybody(NAMES[:5]))
    pages += await present(realtime, NAMES[5:])
    for page in pages:
        await page.expect_count(6)
        assert page.rows == []
    late = await realtime.as_viewer("watching").rows(run(7).members)
    assert (late.count, late.rows, late.states) == (6, [], 1)
    pages += await present(realtime, ("frances",))
    for page in [*pages, late]:
        await page.expect_count(7)
    for page in pages[:2]:
        page.close()
    await late.expect_count(5)
    assert (late.rows, late.states) == ([], 1)  # not yet: it would come and go
    pages[2].close()
    for page in [*pages[3:], late]:
        await page.expect_rows(everybody((*NAMES[3:], "frances")))
    assert (late.count, late.states) == (4, 2)


async def test_a_page_that_was_away_has_the_count_or_the_list_of_now(realtime: RealtimeUnderTest) -> None:
    pages = await present(realtime, NAMES)
    away = await realtime.as_viewer("watching").rows(run(7).members)
    await away.expect_count(6)
    away.close()
    back = await returned(realtime, away)
    assert (back.count, back.states) == (6, 0)  # nothing was missed: no state is sent
    back.close()
    more = await present(realtime, ("frances",))
    await more[0].expect_count(7)
    back = await returned(realtime, back)
    assert (back.count, back.rows, back.states) == (7, [], 0)
    back.close()
    for page in pages[:3]:
        page.close()
    await more[0].expect_rows(everybody((*NAMES[3:], "frances")))
    back = await returned(realtime, back)
    assert sorted(back.rows, key=str) == sorted(everybody((*NAMES[3:], "frances")), key=str)
    assert back.states == 1


async def returned(realtime: RealtimeUnderTest, page: Page) -> Page:
    """Return the page on a new connection, with what it had."""
    node = await realtime._start()  # pyright: ignore[reportPrivateUsage]
    old = page._inbox  # pyright: ignore[reportPrivateUsage]
    inbox = RowsInbox(channel=old.channel, shown=dict(old.shown), unlisted=old.unlisted)
    inbox.cursor, inbox._names = old.cursor, old._names  # pyright: ignore[reportPrivateUsage]
    gateway = node.connect(inbox)
    inbox.send = lambda frame: gateway.received(json.dumps(frame))
    authorizer: Any = realtime._authorizer  # pyright: ignore[reportPrivateUsage]
    inbox.send({"auth": authorizer.admit(Viewer("watching"))})
    inbox.ask()
    while inbox.answer is None:
        await inbox.news()
    return RowsSubscription(page.channel, gateway, inbox, realtime)


async def test_two_thousand_members_cost_each_page_few_bytes(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list of 500 is 15 KB, a count 0.3; 2,000 that come and 2,000 that go were 400 KB as a list."""
    received = dict[int, int]()
    try_send = Inbox.try_send

    def counted(inbox: Inbox, data: bytes) -> int:
        received[id(inbox)] = received.get(id(inbox), 0) + len(data)
        return try_send(inbox, data)

    monkeypatch.setattr(Inbox, "try_send", counted)
    async with DatabaseRealtime(CHANNELS, database) as realtime:
        pages = [await realtime.as_viewer(f"page {n}").present(run(7)) for n in range(3)]
        node = await realtime._start()  # pyright: ignore[reportPrivateUsage]
        store: Any = node._presence._store  # pyright: ignore[reportPrivateUsage]
        await store.beat("herd")
        for n in range(0, 2000, 100):
            await store.attend("herd", [_member(m) for m in range(n, n + 100)], whole=False)
        for page in pages:
            await page.expect_count(2003)
        assert max(received.values()) < 60_000
        received.clear()
        late = await realtime.as_viewer("late").present(run(7))
        assert late.count >= 2003
        await late.expect_count(2004)
        for n in range(0, 1400, 100):
            gone = [_member(m)._replace(info=None) for m in range(n, n + 100)]
            await store.attend("herd", gone, whole=False)
        async with asyncio.timeout(10):
            while late.count != 604:  # as the node of the herd would ask a second later
                await store.attend("herd", [], whole=False)
                await asyncio.sleep(0.05)
        for page in [*pages, late]:
            await page.expect_count(604)
        assert max(received.values()) < 10_000


def _member(number: int) -> Change:
    return Change("runs_members.7", f'"m{number}"', f'{{"id":"m{number}"}}')
