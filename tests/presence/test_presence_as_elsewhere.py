"""What people report about presence elsewhere, each tried here; the docstrings have the reports."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from flowcraft.channels import Channels
from flowcraft.events import Event
from flowcraft.records import Kind
from flowcraft.testing.inbox import Inbox
from flowcraft.testing.realtime import InMemoryRealtime
from flowcraft.viewers import Viewer


class Stepped(Event):
    run_id: int


class Person(Event):
    id: str
    name: str


class Asked:
    """Answers who a viewer is when it may; counts how often it was asked."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.may.set()
        self.count = 0

    async def __call__(self, viewer: Viewer) -> Person:
        self.count += 1
        await self.may.wait()
        return Person(id=viewer.subject, name=str(viewer.claims.get("name", viewer.subject)))


ASKED = Asked()
CHANNELS = Channels()
run = CHANNELS.declare("runs.{run_id}", Stepped, params={"run_id": int}, presence=Person)
run.guard(lambda viewer, run_id: True)
run.present(ASKED)
BOB = Person(id="bob", name="bob")


@pytest.fixture
async def realtime() -> AsyncIterator[InMemoryRealtime]:
    ASKED.count = 0
    ASKED.may.set()
    async with InMemoryRealtime(CHANNELS) as realtime:
        yield realtime


class Tab:
    """One connection of a viewer."""

    def __init__(self, realtime: InMemoryRealtime, gateway: Any) -> None:
        self._realtime = realtime
        self._gateway = gateway
        self.close = gateway.closed

    @classmethod
    async def open(cls, realtime: InMemoryRealtime, subject: str, **claims: str) -> Tab:
        node = await realtime._start()  # pyright: ignore[reportPrivateUsage]
        tab = cls(realtime, node.connect(Inbox()))
        tab.authenticate(subject, **claims)
        return tab

    def authenticate(self, subject: str, **claims: str) -> None:
        authorizer: Any = self._realtime._authorizer  # pyright: ignore[reportPrivateUsage]
        self.send(auth=authorizer.admit(Viewer(subject, dict(claims))))

    def enter(self, *channels: str) -> None:
        self.send(subscribe=[*channels], rows=True, present=True)

    def send(self, **frame: object) -> None:
        self._gateway.received(json.dumps(frame))


async def test_a_connection_that_ends_leaves_all_its_channels(realtime: InMemoryRealtime) -> None:
    """pusher/pusher-js#4: of several presence channels only one had `member_removed`."""
    pages = [await realtime.as_viewer("bob").present(run(n)) for n in (1, 2, 3)]
    ada = await Tab.open(realtime, "ada")
    ada.enter("runs_members.1", "runs_members.2", "runs_members.3")
    for page in pages:
        await page.expect_rows([Person(id="ada", name="ada"), BOB])
    ada.close()
    for page in pages:
        await page.expect_rows([BOB])


async def test_a_change_of_a_member_is_neither_a_leave_nor_a_join(realtime: InMemoryRealtime) -> None:
    """supabase/realtime#1167, supabase/realtime-js#244: `track` with new data fires leave and join."""
    page = await realtime.as_viewer("bob").present(run(1))
    ada = await Tab.open(realtime, "ada", name="Ada")
    ada.enter("runs_members.1")
    await page.expect_rows([Person(id="ada", name="Ada"), BOB])
    before = await realtime.cursor()
    ada.authenticate("ada", name="Ada Lovelace")  # a new token has the new name
    await page.expect_rows([Person(id="ada", name="Ada Lovelace"), BOB])
    assert [record.kind for record in await realtime.committed_since(before)] == [Kind.EVENT]
    asked = ASKED.count
    ada.authenticate("ada", name="Ada Lovelace")
    while ASKED.count == asked:  # noqa: ASYNC110  # nothing announces it
        await asyncio.sleep(0)
    carol = await Tab.open(realtime, "carol")
    carol.enter("runs_members.1")
    await page.expect_rows(lambda rows: len(rows) == 3)
    assert len(await realtime.committed_since(before)) == 2  # the new name, and Carol


async def test_two_devices_of_one_person_leave_no_ghost_after_a_change(realtime: InMemoryRealtime) -> None:
    """supabase/supabase-js#2565: an update by one of two devices duplicates the member, and both stay."""
    page = await realtime.as_viewer("bob").present(run(1))
    first, second = await Tab.open(realtime, "ada"), await Tab.open(realtime, "ada")
    for tab in (first, second):
        tab.enter("runs_members.1")
    await page.expect_rows([Person(id="ada", name="ada"), BOB])
    second.authenticate("ada", name="Ada, on the train")
    await page.expect_rows([Person(id="ada", name="Ada, on the train"), BOB])
    second.close()
    first.close()
    await page.expect_rows([BOB])


async def test_who_left_before_the_first_answer_is_never_shown(realtime: InMemoryRealtime) -> None:
    """get-convex/presence#43: a fast change of rooms leaves a session that outlives its page."""
    page = await realtime.as_viewer("bob").rows(run(1).members)
    other = await realtime.as_viewer("bob").rows(run(2).members)
    ASKED.may.clear()
    ada = await Tab.open(realtime, "ada")
    ada.enter("runs_members.1")
    ada.send(unsubscribe=["runs_members.1"])
    ada.enter("runs_members.2")
    ASKED.may.set()
    await other.expect_rows([Person(id="ada", name="ada")])
    assert (page.rows, page.states) == ([], 1)
    records = await realtime._log.replay((await realtime.cursor()), ["runs_members.1"])  # pyright: ignore[reportPrivateUsage]
    assert records.records == ()


async def test_a_room_that_is_left_and_entered_again_is_no_news(realtime: InMemoryRealtime) -> None:
    """supabase-community/realtime-csharp#31: a leave and a join that cancel each other out are both sent."""
    page = await realtime.as_viewer("bob").present(run(1))
    ada = await Tab.open(realtime, "ada")
    ada.enter("runs_members.1")
    await page.expect_rows([Person(id="ada", name="ada"), BOB])
    before = await realtime.cursor()
    for _ in range(3):
        ada.send(absent=["runs_members.1"])
        ada.enter("runs_members.1")
    carol = await Tab.open(realtime, "carol")
    carol.enter("runs_members.1")
    await page.expect_rows(lambda rows: len(rows) == 3)
    assert len(await realtime.committed_since(before)) == 1
