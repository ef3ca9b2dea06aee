"""Counts of members without a WebSocket: an event stream has list, count and list, and resumes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from faults.rows_page import RowsPage
from flowcraft import Realtime, Settings
from flowcraft.adapters.postgres.members import PostgresMembers
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.core.attendance import Change
from flowcraft.testing.contracts.members import members_contract_channels
from tests.rows.test_rows_as_event_streams import shown, stream
from tests.support.carriers import uvicorn_with
from tests.support.postgres import connected
from tests.support.served import served

ROOM = "room_members.7"


def realtime(dsn: str) -> Realtime:
    return Realtime(members_contract_channels(), dsn=dsn, settings=Settings(members_listed=5))


@asynccontextmanager
async def dedicated(dsn: str) -> AsyncIterator[str]:
    async with served(realtime(dsn)) as (_, address):
        yield address.replace("ws://", "http://") + "/events"


@asynccontextmanager
async def mounted(dsn: str) -> AsyncIterator[str]:
    async with uvicorn_with(realtime(dsn).asgi(), lifespan="on") as (_, port):
        yield f"http://127.0.0.1:{port}/realtime/events"


def has(listed: int, unlisted: int) -> Callable[[RowsPage], bool]:
    return lambda page: (
        ROOM in page.live and (len(page.rows[ROOM]), page.unlisted.get(ROOM)) == (listed, unlisted)
    )


@pytest.mark.parametrize("door", [dedicated, mounted], ids=["dedicated", "asgi"])
async def test_a_stream_has_list_count_and_list(
    database: str, door: Callable[[str], AbstractAsyncContextManager[str]]
) -> None:
    await migrate(database, members_contract_channels())
    store, page = PostgresMembers(database, listed=5), RowsPage(ROOM)
    await store.beat("herd")

    async def attend(come: range, go: range = range(0)) -> None:
        async with connected(database) as connection:
            await connection.execute("update flowcraft.member_count set sent_at = sent_at - interval '1 h'")
        changes = [Change(ROOM, str(n), f'{{"id":{n},"name":"n"}}') for n in come]
        await store.attend("herd", [*changes, *(Change(ROOM, str(n), None) for n in go)], whole=False)

    await attend(range(5))
    async with door(database) as address:
        async with stream(address, f"?rows={ROOM}") as events:
            await shown(page, events, has(5, 0))
            await attend(range(5, 8))
            await shown(page, events, has(0, 8))
            await attend(range(8, 10))
            await shown(page, events, has(0, 10))
            await shown(page, events, lambda page: events.last_id == page.cursors[ROOM])
        page.lost()
        await attend(range(10, 12))
        await attend(range(12, 14))
        states = page.states
        async with stream(address, f"?rows={ROOM}", events.last_id) as again:
            await shown(page, again, has(0, 14))
            assert page.states == states
            await attend(range(0), range(10))
            await shown(page, again, has(4, 0))
    await store.close()
