"""Kinds on PostgreSQL: deletes, moves, TRUNCATE and misfits, live and resumed, by both carriers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from flowcraft import Channels, Event, Realtime, Settings, Table, migrate
from tests.support.postgres import connected
from tests.support.served import served, until

TABLE = "create table task (id int primary key, team_id int, title text not null default 'x')"
ALL = ("task_update", "teams.1", "teams.2")


class Task(Event):
    """One row."""

    id: int
    team_id: int
    title: str


channels = Channels()
channels.declare("task_update", Task, source=Table("task"))
channels.declare("teams.{team_id}", Task, params={"team_id": int}, source=Table("task"))


def row(id_: int, team: int, title: str = "x") -> dict[str, Any]:
    return {"payload": {"id": id_, "team_id": team, "title": title}}


async def group(client: ClientConnection) -> list[tuple[str, dict[str, Any]]]:
    """Return the channel and the content of the event frames up to the frame that closes their group."""
    found: list[tuple[str, dict[str, Any]]] = []
    while True:
        async with asyncio.timeout(20):
            frame = json.loads(await client.recv())
        if "channel" in frame:
            content = {k: v for k, v in frame.items() if k not in {"channel", "id"}}
            content.get("payload", {}).pop("type", None)
            found.append((frame["channel"], content))
        elif "n" in frame and (frame["n"] or "subscribed" in frame):
            assert frame["n"] == len(found)
            return found
        elif "reset" in frame:
            return [*found, *((name, {"reset": frame["reason"]}) for name in frame["reset"])]


CHANGES: list[tuple[str, str, list[tuple[str, dict[str, Any]]]]] = [
    (
        "delete",
        "delete from task where id = 1",
        [("task_update", {"gone": {"id": 1}}), ("teams.1", {"gone": {"id": 1}})],
    ),
    (
        "move",
        "update task set team_id = 2 where id = 1",
        [("task_update", row(1, 2)), ("teams.1", {"gone": {"id": 1}}), ("teams.2", row(1, 2))],
    ),
    (
        "move to no team",
        "update task set team_id = null where id = 1",
        [("task_update", {"skipped": {"reason": "payload_invalid"}}), ("teams.1", {"gone": {"id": 1}})],
    ),
    (
        "truncate of few rows",
        "truncate task",
        [("task_update", {"gone": {"id": 1}}), ("teams.1", {"gone": {"id": 1}})],
    ),
    (
        "another key",
        "update task set id = 3 where id = 1",
        [
            ("task_update", {"gone": {"id": 1}}),
            ("task_update", row(3, 1)),
            ("teams.1", {"gone": {"id": 1}}),
            ("teams.1", row(3, 1)),
        ],
    ),
    (
        "an event that does not fit",
        """select flowcraft.broadcast('teams.1', '{"id":"one"}'),
            flowcraft.broadcast('teams.2', '{"id":4,"team_id":2,"title":"y"}')""",
        [("teams.1", {"skipped": {"reason": "payload_invalid"}}), ("teams.2", row(4, 2, "y"))],
    ),
]
RESETS = [(name, {"reset": "truncated"}) for name in ALL]


def same(found: list[tuple[str, dict[str, Any]]], expected: list[tuple[str, dict[str, Any]]]) -> None:
    """Compare per channel: triggers of two channels fire in the order of their names."""
    for name in ALL:
        assert [c for n, c in found if n == name] == [c for n, c in expected if n == name]


@pytest.mark.parametrize(("what", "change", "expected"), CHANGES, ids=lambda value: str(value)[:20])
async def test_a_change_arrives_live_and_after_a_resume_by_websocket_and_by_event_stream(
    database: str, what: str, change: str, expected: list[tuple[str, dict[str, Any]]]
) -> None:
    async with prepared(database) as (writer, address), connect(address) as live:
        await live.send(json.dumps({"subscribe": ALL}))
        since = (await until(live, "subscribed"))["cursor"]
        await writer.execute(change)
        same(await group(live), expected)
        async with connect(address) as back:
            await back.send(json.dumps({"subscribe": ALL, "since": since}))
            same(await group(back), expected)
        same(await streamed(address, since), expected)
        await writer.execute("insert into task values (9, 1)")
        same(await group(live), [("task_update", row(9, 1)), ("teams.1", row(9, 1))])


async def test_truncate_resets_each_subscriber_once_live_and_after_a_resume(database: str) -> None:
    async with prepared(database) as (writer, address), connect(address) as live:
        await live.send(json.dumps({"subscribe": ALL}))
        since = (await until(live, "subscribed"))["cursor"]
        # At this isolation level the trigger may not see all rows.
        async with writer.transaction(isolation="repeatable_read"):
            await writer.execute("insert into task values (8, 1)")
            await writer.execute("truncate task")
            await writer.execute("insert into task values (9, 1)")
        same(await group(live), RESETS)
        async with connect(address) as back:
            await back.send(json.dumps({"subscribe": ALL, "since": since}))
            same(await group(back), RESETS)
        same(await streamed(address, since), RESETS)
        await writer.execute("delete from task where id = 9")
        same(await group(live), [("task_update", {"gone": {"id": 9}}), ("teams.1", {"gone": {"id": 9}})])


async def streamed(address: str, since: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the first group of an event stream that resumes."""
    found: list[tuple[str, dict[str, Any]]] = []
    url = f"{address.replace('ws', 'http', 1)}/events?{'&'.join(f'channel={name}' for name in ALL)}"
    async with (
        httpx.AsyncClient(timeout=20) as client,
        client.stream("GET", url, headers={"Last-Event-ID": since}) as response,
    ):
        assert response.status_code == 200, url
        async for line in response.aiter_lines():
            frame: dict[str, Any] = json.loads(line[6:]) if line.startswith("data: ") else {}
            if "channel" in frame:
                content = {k: v for k, v in frame.items() if k not in {"channel", "id"}}
                content.get("payload", {}).pop("type", None)
                found.append((frame["channel"], content))
            elif "subscribed" in frame:
                return found
            elif "reset" in frame:
                return [*found, *((name, {"reset": frame["reason"]}) for name in frame["reset"])]
    raise EOFError


@asynccontextmanager
async def prepared(database: str) -> AsyncIterator[tuple[asyncpg.Connection[asyncpg.Record], str]]:
    """Yield a writer and the address of a server; the table has one row."""
    async with connected(database) as writer:
        await writer.execute(TABLE)
        await migrate(database, channels)
        await writer.execute("insert into task values (1, 1)")
        realtime = Realtime(channels, dsn=database, settings=Settings(drain_seconds=0.01))
        async with realtime, served(realtime) as (_, address):
            yield writer, address


async def test_what_does_not_fit_is_counted_logged_once_and_shown(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(database) as writer:
        await migrate(database, Channels())
        realtime = Realtime(channels, dsn=database, settings=Settings(drain_seconds=0.01))
        async with realtime, served(realtime) as (node, address), connect(address) as client:
            await client.send(json.dumps({"subscribe": ["task_update"]}))
            since = (await until(client, "subscribed"))["cursor"]
            for _ in range(2):
                await writer.execute("select flowcraft.broadcast('task_updates', '{}')")
            await writer.execute("""select flowcraft.broadcast('task_update', '{"id":"secret"}')""")
            skipped = {"channel": "task_update", "skipped": {"reason": "payload_invalid"}, "id": 3}
            assert await until(client, "skipped") == skipped
            await client.send(json.dumps({"subscribe": ["task_update"], "since": since}))
            assert await until(client, "skipped") == skipped
            page = f"{address.replace('ws', 'http', 1).removesuffix('/realtime')}/readyz"
            async with httpx.AsyncClient() as http:
                counts = (await http.get(page)).json()["counts"]
        expected = {"other": {"undeclared": 2}, "task_update": {"payload_invalid": 1}}
        assert counts["skipped"] == node.counts.skipped == expected
        lines = [r.getMessage() for r in caplog.records if "is not delivered" in r.getMessage()]
        assert len(lines) == 2
        assert lines[0].endswith("did you mean 'task_update'?")
        assert lines[1].startswith("event 3 on task_update is not delivered (payload_invalid): Task does not")
        assert "secret" not in lines[1]
