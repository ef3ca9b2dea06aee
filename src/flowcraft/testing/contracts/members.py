"""MembersContract: the guarantees of a store of members."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import msgspec
import pytest

from flowcraft.channels import Channels
from flowcraft.core.attendance import Change
from flowcraft.cursors import Cursor
from flowcraft.events import Event
from flowcraft.ports import EventLog, MemberStore, RowsReader
from flowcraft.records import Kind, Limit

_MOST = Limit(10_000, 10**7)
_ROOM = "room_members.7"


class Guest(Event):
    """A member of the contract's channel."""

    id: int
    name: str


class Entered(Event):
    """An event of the channel itself; the contract broadcasts none."""


def members_contract_channels() -> Channels:
    """Return the channels of the contract, for a fresh backend."""
    channels = Channels()
    room = channels.declare("room.{number}", Entered, params={"number": int}, presence=Guest)
    room.present(lambda viewer: Guest(id=int(viewer.subject), name=viewer.subject))
    return channels


class MembersUnderContract(Protocol):
    """A store without members at first, with the log and the reader of its channels."""

    @property
    def store(self) -> MemberStore: ...
    @property
    def log(self) -> EventLog: ...
    @property
    def rows(self) -> RowsReader: ...


class MembersContract:
    """The guarantees of `ports.MemberStore`, of one that lists at most 500 members. Override the fixture."""

    @pytest.fixture
    def members(self) -> MembersUnderContract:
        raise NotImplementedError("override this fixture: return a MembersUnderContract")

    async def test_who_comes_and_who_leaves_is_in_the_log_and_in_the_rows(
        self, members: MembersUnderContract
    ) -> None:
        await members.store.beat("a")
        start = await _position(members)
        assert await members.store.attend("a", [_guest(1), _guest(2)], whole=False)
        assert await members.store.attend("a", [_gone(1)], whole=False)
        assert await _written(members, start) == [("e", 1), ("e", 2), ("g", 1)]
        assert await _names(members) == {2: "2"}

    async def test_what_follows_the_cursor_of_the_rows_is_what_they_lack(
        self, members: MembersUnderContract
    ) -> None:
        await members.store.beat("a")
        await members.store.attend("a", [_guest(1)], whole=False)
        found = await members.rows.read(_ROOM, _MOST)
        await members.store.attend("a", [_gone(1), _guest(2)], whole=False)
        assert [_id_of(row) for row in found.rows] == [1]
        assert sorted(await _written(members, found.cursor)) == [("e", 2), ("g", 1)]

    async def test_a_member_of_two_nodes_is_one(self, members: MembersUnderContract) -> None:
        for node in ("a", "b"):
            await members.store.beat(node)
        start = await _position(members)
        await members.store.attend("a", [_guest(1)], whole=False)
        await members.store.attend("b", [_guest(1)], whole=False)
        await members.store.attend("a", [_gone(1)], whole=False)
        assert await _written(members, start) == [("e", 1)]
        await members.store.attend("b", [_gone(1)], whole=False)
        assert await _written(members, start) == [("e", 1), ("g", 1)]

    async def test_the_last_word_about_a_member_counts(self, members: MembersUnderContract) -> None:
        for node in ("a", "b"):
            await members.store.beat(node)
        await members.store.attend("a", [_guest(1, "Ada")], whole=False)
        await members.store.attend("b", [_guest(1, "Ada Lovelace")], whole=False)
        assert await _names(members) == {1: "Ada Lovelace"}
        await members.store.attend("a", [_guest(1, "Ada")], whole=False)  # as it was: no news
        assert await _names(members) == {1: "Ada Lovelace"}
        start = await _position(members)
        await members.store.attend("b", [_gone(1)], whole=False)
        assert await _written(members, start) == [("e", 1)]
        assert await _names(members) == {1: "Ada"}

    async def test_a_whole_list_takes_the_place_of_what_the_node_had(
        self, members: MembersUnderContract
    ) -> None:
        for node in ("a", "b"):
            await members.store.beat(node)
        await members.store.attend("a", [_guest(1), _guest(2), _guest(3)], whole=False)
        await members.store.attend("b", [_guest(3)], whole=False)
        start = await _position(members)
        await members.store.attend("a", [_guest(2), _guest(4)], whole=True)
        assert sorted(await _written(members, start)) == [("e", 4), ("g", 1)]
        assert await _names(members) == {2: "2", 3: "3", 4: "4"}

    async def test_the_same_twice_is_written_once(self, members: MembersUnderContract) -> None:
        await members.store.beat("a")
        start = await _position(members)
        for _ in range(2):
            await members.store.attend("a", [_guest(1)], whole=False)
        for _ in range(2):
            await members.store.attend("a", [_gone(1)], whole=False)
        assert await _written(members, start) == [("e", 1), ("g", 1)]

    async def test_a_beat_counts_up_and_is_read_by_all(self, members: MembersUnderContract) -> None:
        assert await members.store.beat("a") == {"a": 1}
        assert await members.store.beat("b") == {"a": 1, "b": 1}
        assert await members.store.beat("a") == {"a": 2, "b": 1}

    async def test_nodes_that_ended_leave_with_their_members(self, members: MembersUnderContract) -> None:
        for node in ("a", "b", "c"):
            await members.store.beat(node)
        await members.store.attend("a", [_guest(1), _guest(2)], whole=False)
        await members.store.attend("b", [_guest(2)], whole=False)
        await members.store.attend("c", [_guest(1), _guest(3)], whole=False)
        start = await _position(members)
        assert list(await members.store.forget({"a": 1, "c": 1, "d": 1})) == ["a", "c"]
        assert sorted(await _written(members, start)) == [("g", 1), ("g", 3)]
        assert await _names(members) == {2: "2"}
        assert not await members.store.attend("a", [_guest(4)], whole=False)
        assert await members.store.beat("a") == {"a": 1, "b": 1}

    async def test_a_node_that_beats_again_is_not_forgotten(self, members: MembersUnderContract) -> None:
        await members.store.beat("a")
        await members.store.attend("a", [_guest(1)], whole=False)
        await members.store.beat("a")
        assert list(await members.store.forget({"a": 1})) == []
        assert await _names(members) == {1: "1"}

    async def test_many_members_are_counted_and_not_listed(self, members: MembersUnderContract) -> None:
        await members.store.beat("a")
        await members.store.attend("a", [_guest(n) for n in range(500)], whole=False)
        assert len(await _names(members)) == 500
        start = await _position(members)
        await members.store.attend("a", [_guest(500), _guest(501)], whole=False)
        await members.store.attend("a", [_guest(0, "Ada"), _guest(502), _gone(1), _gone(2)], whole=False)
        assert await _unlisted(members) == 501
        assert await _counted(members, start, 501) == ["r redeclared", "n 501"]
        assert await members.store.attend("a", [], whole=False)
        assert await _counted(members, start, 501) == ["r redeclared", "n 501"]
        start = await _position(members)
        await members.store.attend("a", [_gone(n) for n in range(3, 102)], whole=False)
        assert await _unlisted(members) == 402
        await members.store.attend("a", [_gone(102), _gone(103), _guest(0, "Ada L.")], whole=False)
        assert await _counted(members, start) == ["r redeclared"]
        names = await _names(members)
        assert (len(names), names[0], names[502]) == (400, "Ada L.", "502")
        start = await _position(members)
        await members.store.attend("a", [_guest(1)], whole=False)
        assert await _written(members, start) == [("e", 1)]

    async def test_members_that_leave_with_their_node_are_not_counted(
        self, members: MembersUnderContract
    ) -> None:
        for node in ("a", "b", "c"):
            await members.store.beat(node)
        await members.store.attend("a", [_guest(n) for n in range(300)], whole=False)
        await members.store.attend("b", [_guest(n) for n in range(299, 500)], whole=False)
        start = await _position(members)
        await members.store.attend("c", [_guest(n) for n in range(498, 502)], whole=False)
        assert await _unlisted(members) == 502
        assert list(await members.store.forget({"c": 1})) == ["c"]
        assert await _unlisted(members) == 500
        assert await _counted(members, start, 500) == ["r redeclared", "n 500"]
        assert list(await members.store.forget({"a": 1})) == ["a"]
        assert sorted(await _names(members)) == [*range(299, 500)]


def _guest(number: int, name: str | None = None) -> Change:
    guest = Guest(id=number, name=name or str(number))
    return Change(_ROOM, str(number), msgspec.json.encode(guest).decode())


def _gone(number: int) -> Change:
    return Change(_ROOM, str(number), None)


async def _position(members: MembersUnderContract) -> Cursor:
    return (await members.log.position()).cursor


async def _written(members: MembersUnderContract, after: Cursor) -> Sequence[tuple[str, int]]:
    records = (await members.log.tail(after)).records
    assert {record.kind for record in records} <= {Kind.EVENT, Kind.GONE}
    return [(str(record.kind), _id_of(record.payload)) for record in records if record.channel == _ROOM]


async def _names(members: MembersUnderContract) -> dict[int, str]:
    found = await members.rows.read(_ROOM, _MOST)
    guests = [msgspec.json.decode(row, type=Guest) for row in found.rows]
    assert len({guest.id for guest in guests}) == len(guests)
    return {guest.id: guest.name for guest in guests}


async def _unlisted(members: MembersUnderContract) -> int:
    found = await members.rows.read(_ROOM, _MOST)
    assert not found.rows
    return found.skipped


async def _counted(
    members: MembersUnderContract, after: Cursor, expected: int | None = None
) -> Sequence[str]:
    """Return the resets and counts since a cursor, once the last is as expected: what is due is asked for."""
    async with asyncio.timeout(10):
        while True:
            records = (await members.log.tail(after)).records
            found = [
                f"{record.kind} {record.count if record.kind is Kind.COUNT else record.reason}"
                for record in records
                if record.channel == _ROOM
            ]
            if expected is None or f"n {expected}" in found:
                return found
            await members.store.attend("a", [], whole=False)
            await asyncio.sleep(0.05)


def _id_of(payload: str) -> int:
    return int(msgspec.json.decode(payload)["id"])
