"""Withdrawals: rights end in commit order, whatever guards answer meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest

from flowcraft.adapters.memory import MemoryLog, MemoryWakeups
from flowcraft.channels import Channels
from flowcraft.core.recent import Recent
from flowcraft.core.withdrawals import EVERYTHING, RESERVED, Withdrawal, encode_withdrawal
from flowcraft.events import Event
from flowcraft.records import Kind
from flowcraft.runtime import gateway as gateways
from flowcraft.runtime.clock import SystemClock
from flowcraft.runtime.gateway import Gateway
from flowcraft.runtime.node import Node
from flowcraft.settings import Settings
from flowcraft.viewers import Viewer
from tests.support.kept_frames import Client, Everyone


class Said(Event):
    """Something that members may read."""

    team_id: int
    n: int


class Team:
    """A node with a guarded family, whose guard answers as a test says."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.answer: Callable[[str, int], Awaitable[bool] | bool] = lambda _viewer, _team: True
        self.asked: list[tuple[str, int]] = []
        channels = Channels()
        team = channels.declare("teams.{team_id}", Said, params={"team_id": int})
        channels.declare("said_update", Said)

        @team.guard
        async def is_member(viewer: Viewer, team_id: int) -> bool:
            self.asked.append((viewer.subject, team_id))
            answer = self.answer(viewer.subject, team_id)
            return answer if isinstance(answer, bool) else await answer

        self.node = Node(
            channels,
            self.log,
            MemoryWakeups(self.log),
            settings=Settings(drain_seconds=0.01),
            authorizer=Everyone(),
            clock=SystemClock(),
        )

    def say(self, n: int, team: int = 7) -> None:
        self.log.broadcast(f"teams.{team}", msgspec.json.encode({"team_id": team, "n": n}).decode())

    def withdraw(self, viewer: str | None, channel: str | None, *, ask: bool = False) -> None:
        payload = encode_withdrawal(Withdrawal(viewer, channel, ask))
        self.log.broadcast(RESERVED, payload, kind=Kind.WITHDRAWAL)

    async def member(self, viewer: str, *channels: str) -> tuple[Client, Gateway]:
        client = Client()
        gateway = self.node.connect(client, channels or ("teams.7",))
        gateway.received(f'{{"auth":"{viewer}"}}')
        await client.until(lambda: client.count("subscribed"))
        return client, gateway


@asynccontextmanager
async def team() -> AsyncIterator[Team]:
    made = Team()
    made.node.start()
    await made.node.until_accepting()
    try:
        yield made
    finally:
        await made.node.stop()


async def test_a_revoked_right_ends_in_commit_order_for_its_viewer_alone() -> None:
    async with team() as it:
        ada, _ = await it.member("ada")
        bob, _ = await it.member("bob")
        with_one_read = it.log.begin()
        it.say(1)
        it.withdraw("ada", "teams.7")
        it.say(2)
        with_one_read.commit()
        await bob.until(lambda: bob.events == [1, 2])
        it.say(3)
        await bob.until(lambda: bob.events == [1, 2, 3])
        assert 2 not in ada.events
        assert 3 not in ada.events
        assert ada.refused == ["teams.7"]
        assert it.asked == [("ada", 7), ("bob", 7)]


@pytest.mark.parametrize(
    ("viewer", "channel", "lost"),
    [
        ("ada", "teams.7", ["teams.7"]),
        ("ada", "teams.8", ["teams.8"]),
        ("ada", "teams.*", ["teams.7", "teams.8"]),
        ("ada", None, ["teams.7", "teams.8", "said_update"]),
        (None, "teams.7", ["teams.7"]),
        (None, None, ["teams.7", "teams.8", "said_update"]),
        ("ada", "said_update", ["said_update"]),
        ("bob", None, []),
        ("ada", "teams.70", []),
        ("ada", "team.*", []),
        ("Ada", "teams.7", []),
    ],
)
async def test_a_withdrawal_names_a_viewer_and_a_channel_a_family_or_all(
    viewer: str | None, channel: str | None, lost: list[str]
) -> None:
    async with team() as it:
        ada, _ = await it.member("ada", "teams.7", "teams.8", "said_update")
        it.withdraw(viewer, channel)
        it.log.broadcast("unheard_update", "{}")
        await it.node.until_accepting()
        if lost:
            await ada.until(lambda: ada.refused)
        assert sorted(ada.refused) == sorted(lost)
        assert it.node.report().subscriptions == 3 - len(lost)


async def test_asked_again_a_guard_that_still_allows_resumes_without_a_gap_and_one_that_does_not_ends() -> (
    None
):
    async with team() as it:
        ada, _ = await it.member("ada")
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        it.answer = lambda _viewer, _team: answer
        it.withdraw("ada", "teams.7", ask=True)
        it.say(1)
        await asyncio.wait_for(_until(lambda: len(it.asked) == 2), 10)
        assert ada.events == []
        answer.set_result(True)
        await ada.until(lambda: ada.events == [1])
        it.say(2)
        await ada.until(lambda: ada.events == [1, 2])
        assert ada.refused == []
        it.answer = lambda _viewer, _team: False
        it.withdraw("ada", None, ask=True)
        it.say(3)
        await ada.until(lambda: ada.refused)
        assert (ada.events, ada.refused) == ([1, 2], ["teams.7"])


async def test_nothing_that_a_client_could_resume_from_passes_what_is_held_back() -> None:
    """Events of other channels, heartbeats and `settled` wait too: their positions are later."""
    async with team() as it:
        ada, gateway = await it.member("ada", "teams.7", "said_update")
        bob, _ = await it.member("bob", "said_update")
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        it.answer = lambda viewer, _team: answer if viewer == "ada" else True
        transaction = it.log.begin()
        gateway.received(f'{{"settle":"{transaction.xid}"}}')
        before = len(ada.frames)
        it.withdraw("ada", "teams.7", ask=True)
        it.say(1)
        for n in (2, 3):
            it.log.broadcast("said_update", f'{{"team_id":7,"n":{n}}}')
        await bob.until(lambda: bob.events == [2, 3])
        transaction.broadcast("unheard_update", "{}")
        transaction.commit()
        gateway.received('{"subscribe":["teams.8"],"ref":8}')
        it.node._delivery.heartbeat([gateway.number])  # pyright: ignore[reportPrivateUsage]
        it.log.broadcast("said_update", '{"team_id":7,"n":4}')
        await bob.until(lambda: bob.events == [2, 3, 4])
        assert ada.frames[before:] == []
        answer.set_result(True)
        await ada.until(lambda: ada.count("settled"))
        assert ada.events == [1, 2, 3, 4]
        held, settled = ada.frames[before + 4 : before + 6]
        assert (held["subscribed"], held["n"], settled["settled"]) == (
            ["teams.7", "said_update"],
            4,
            str(transaction.xid),
        )
        it.answer = lambda _viewer, _team: True
        await ada.until(lambda: ada.frames[-1].get("ref") == 8)
        it.say(5, 8)
        await ada.until(lambda: ada.events == [1, 2, 3, 4, 5])


async def test_a_request_that_is_answered_while_events_are_held_back_goes_live_after_them() -> None:
    async with team() as it:
        ada, gateway = await it.member("ada", "teams.7")
        bob, _ = await it.member("bob", "said_update")
        answers = {team: asyncio.get_running_loop().create_future() for team in (7, 8, 9)}
        it.answer = lambda _viewer, team: answers[team]
        gateway.received('{"subscribe":["teams.8","teams.9"],"ref":8}')
        await asyncio.wait_for(_until(lambda: len(it.asked) == 3), 10)
        it.withdraw("ada", "teams.7", ask=True)
        it.say(1)
        it.log.broadcast("said_update", '{"team_id":7,"n":0}')
        await bob.until(lambda: bob.events == [0])
        answers[8].set_result(True)
        answers[9].set_result(False)
        await ada.until(lambda: ada.refused == ["teams.9"])
        it.say(2, 8)
        assert ada.events == []
        answers[7].set_result(True)
        await ada.until(lambda: ada.frames[-1].get("ref") == 8)
        it.say(3, 8)
        await ada.until(lambda: ada.events[-1:] == [3])
        assert ada.events in ([1, 3], [1, 2, 3])
        assert [f.get("ref", 0) for f in ada.frames if "subscribed" in f][-2:] == [0, 8]


async def test_what_is_held_back_for_longer_than_it_is_remembered_sends_its_client_to_resume() -> None:
    async with team() as it:
        ada, _ = await it.member("ada")
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        it.answer = lambda _viewer, _team: answer
        it.withdraw("ada", "teams.7", ask=True)
        await asyncio.wait_for(_until(lambda: len(it.asked) == 2), 10)
        hub = it.node._delivery.require_hub()  # pyright: ignore[reportPrivateUsage]
        hub.subscriptions.recent = Recent(hub.cursor, Settings())
        answer.set_result(True)
        await ada.until(lambda: ada.closed)
        assert ada.closed == (1012, "restart")


async def test_a_guard_that_was_asked_before_a_withdrawal_is_asked_again_after_it() -> None:
    async with team() as it:
        bob, _ = await it.member("bob", "said_update")
        first: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        it.answer = lambda _viewer, _team: first if len(it.asked) == 1 else False
        ada = Client()
        gateway = it.node.connect(ada, ["teams.7"])
        gateway.received('{"auth":"ada"}')
        await asyncio.wait_for(_until(lambda: it.asked), 10)
        it.withdraw("ada", "teams.7")
        it.log.broadcast("said_update", '{"team_id":7,"n":1}')
        await bob.until(lambda: bob.events == [1])
        first.set_result(True)
        await ada.until(lambda: ada.refused)
        assert ada.count("subscribed") == 0
        assert it.asked == [("ada", 7), ("ada", 7)]


async def test_a_yes_after_a_withdrawal_is_asked_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateways, "ASKED_ONCE_MORE_SECONDS", 0.01)
    async with team() as it:
        ada, _ = await it.member("ada")
        it.answer = lambda _viewer, _team: len(it.asked) < 3  # a replica that has the change only then
        it.withdraw("ada", "teams.7", ask=True)
        await ada.until(lambda: ada.refused)
        assert len(it.asked) == 3


async def test_after_a_jump_in_the_log_every_guard_is_asked_again() -> None:
    async with team() as it:
        ada, _ = await it.member("ada")
        it.answer = lambda _viewer, _team: False
        it.node._delivery.begin(it.log.position_now(), "expired")  # pyright: ignore[reportPrivateUsage]
        await ada.until(lambda: ada.refused)
        assert ada.refused == ["teams.7"]


async def test_an_ephemeral_event_is_not_sent_by_a_node_that_cannot_read_the_log() -> None:
    from flowcraft.records import Ephemeral

    async with team() as it:
        ada, _ = await it.member("ada")
        it.node._delivery.read_at = float("-inf")  # pyright: ignore[reportPrivateUsage]
        it.node.broadcast_ephemeral(Ephemeral("teams.7", '{"team_id":7,"n":1}'))
        assert ada.events == []


@pytest.mark.parametrize("payload", ["", "null", "[]", '{"viewer":7}', '{"ask":"yes"}', "{"])
def test_a_malformed_withdrawal_has_every_guard_asked_again(payload: str) -> None:
    assert Withdrawal.parse(payload) == EVERYTHING


@pytest.mark.parametrize("one", [EVERYTHING, Withdrawal("ada", "teams.7", ask=False)])
def test_a_withdrawal_survives_its_encoding(one: Withdrawal) -> None:
    assert Withdrawal.parse(encode_withdrawal(one)) == one


async def _until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110  # the guard has no signal of its own
        await asyncio.sleep(0)
