"""The contract of stores of members: in memory, on PostgreSQL, and by stores that break it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from flowcraft.adapters.memory import MemoryBackend, MemoryLog, MemoryRows
from flowcraft.adapters.memory_members import MemoryMembers
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.adapters.postgres.members import PostgresMembers
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.adapters.postgres.table_rows import PostgresRows
from flowcraft.core.attendance import Change
from flowcraft.errors import PresenceUnsupported
from flowcraft.ports import BackendContext, LogReader, MemberStore
from flowcraft.runtime.serving import Serving
from flowcraft.settings import Settings
from flowcraft.testing.contracts import MembersContract, MembersUnderContract
from flowcraft.testing.contracts.members import members_contract_channels


class InMemory:
    def __init__(self, wrap: type[Any] | None = None) -> None:
        self.log = MemoryLog()
        self.rows = MemoryRows(self.log, members_contract_channels())
        store = MemoryMembers(self.log)
        self.store: MemberStore = store if wrap is None else wrap(store)


class TestMemoryMembers(MembersContract):
    @pytest.fixture
    def members(self) -> MembersUnderContract:
        return InMemory()


class OnPostgres:
    def __init__(self, dsn: str) -> None:
        self.log = PostgresLog(dsn)
        self.rows = PostgresRows(dsn, members_contract_channels())
        self.store = PostgresMembers(dsn)


class TestPostgresMembers(MembersContract):
    @pytest.fixture
    async def members(self, database: str) -> AsyncIterator[MembersUnderContract]:
        await migrate(database, members_contract_channels())
        members = OnPostgres(database)
        yield members
        for part in (members.store, members.rows, members.log):
            await part.close()


class Passes:
    """A store that breaks a promise: what subclasses make of another's answers."""

    def __init__(self, store: MemberStore) -> None:
        self.store = store

    async def beat(self, node: str) -> Mapping[str, int]:
        return await self.store.beat(node)

    async def attend(self, node: str, changes: Sequence[Change], *, whole: bool) -> bool:
        return await self.store.attend(node, changes, whole=whole)

    async def forget(self, beats: Mapping[str, int]) -> Sequence[str]:
        return await self.store.forget(beats)


class KeepsAll(Passes):
    async def attend(self, node: str, changes: Sequence[Change], *, whole: bool) -> bool:
        kept = [change for change in changes if change.info is not None]
        return await super().attend(node, kept, whole=whole)


class OneNode(Passes):
    async def attend(self, node: str, changes: Sequence[Change], *, whole: bool) -> bool:
        await self.store.beat("any")
        return await super().attend("any", changes, whole=whole)


class NeverWhole(Passes):
    async def attend(self, node: str, changes: Sequence[Change], *, whole: bool) -> bool:
        return await super().attend(node, changes, whole=False)


class Repeats(Passes):
    async def attend(self, node: str, changes: Sequence[Change], *, whole: bool) -> bool:
        await super().attend(node, [change._replace(info=None) for change in changes], whole=False)
        return await super().attend(node, changes, whole=whole)


class OwnBeats(Passes):
    async def beat(self, node: str) -> Mapping[str, int]:
        return {node: (await super().beat(node))[node]}


class ForgetsNothing(Passes):
    async def forget(self, beats: Mapping[str, int]) -> Sequence[str]:
        return []


class ForgetsAtOnce(Passes):
    async def forget(self, beats: Mapping[str, int]) -> Sequence[str]:
        return await super().forget(dict.fromkeys(beats, 2))


class FirstWord(Passes):
    def __init__(self, store: MemberStore) -> None:
        super().__init__(store)
        self.first: dict[str, str | None] = {}

    async def attend(self, node: str, changes: Sequence[Change], *, whole: bool) -> bool:
        first = [change._replace(info=self.first.setdefault(change.key, change.info)) for change in changes]
        return await super().attend(node, first, whole=whole)


class NeverDue(Passes):
    async def attend(self, node: str, changes: Sequence[Change], *, whole: bool) -> bool:
        return not changes or await super().attend(node, changes, whole=whole)


BROKEN: dict[str, type[Passes]] = {
    "test_who_comes_and_who_leaves_is_in_the_log_and_in_the_rows": KeepsAll,
    "test_what_follows_the_cursor_of_the_rows_is_what_they_lack": KeepsAll,
    "test_a_member_of_two_nodes_is_one": OneNode,
    "test_the_last_word_about_a_member_counts": FirstWord,
    "test_a_whole_list_takes_the_place_of_what_the_node_had": NeverWhole,
    "test_the_same_twice_is_written_once": Repeats,
    "test_a_beat_counts_up_and_is_read_by_all": OwnBeats,
    "test_nodes_that_ended_leave_with_their_members": ForgetsNothing,
    "test_a_node_that_beats_again_is_not_forgotten": ForgetsAtOnce,
    "test_many_members_are_counted_and_not_listed": KeepsAll,
    "test_members_that_leave_with_their_node_are_not_counted": ForgetsNothing,
}


@pytest.mark.parametrize("promise", BROKEN)
async def test_a_store_that_breaks_a_promise_fails_its_test(promise: str) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        await getattr(MembersContract(), promise)(InMemory(BROKEN[promise]))


def test_every_promise_is_broken_by_one() -> None:
    assert {name for name in dir(MembersContract) if name.startswith("test_")} == set(BROKEN)


class WithoutMembers(MemoryBackend):
    def open(self, context: BackendContext) -> LogReader:
        return replace(super().open(context), members=None)


async def test_a_backend_without_members_refuses_channels_with_presence() -> None:
    with pytest.raises(
        PresenceUnsupported, match=r"WithoutMembers stores no members, which presence on room"
    ):
        Serving(members_contract_channels(), WithoutMembers(), settings=Settings())
