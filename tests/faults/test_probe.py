"""The probe: it lives through what befalls a client, and the judge believes what it says."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from faults.histories import Began, Ended, History, Mark, Received, WasReset, judge
from faults.probe import Probe, ProbeStopped
from faults.proxy import FaultProxy
from flowcraft.adapters.jwt import JwtAuthorizer
from flowcraft.adapters.memory import MemoryLog, MemoryWakeups
from flowcraft.channels import Channels
from flowcraft.cursors import Cursor
from flowcraft.entrypoints.serve import Server
from flowcraft.events import Event
from flowcraft.ports import Authorizer
from flowcraft.runtime.clock import SystemClock
from flowcraft.runtime.node import Node
from flowcraft.settings import Settings


class Changed(Event):
    """A row was changed."""

    row: int
    version: int
    weight: str = ""


channels = Channels()
channels.declare("row_update", Changed)
channels.declare("rows.{row}", Changed, params={"row": int})
QUICK = Settings(drain_seconds=0.01)
START = Cursor.parse("1/1.0/700:")


@asynccontextmanager
async def served(
    log: MemoryLog, settings: Settings = QUICK, authorizer: Authorizer | None = None
) -> AsyncIterator[Server]:
    node = Node(
        channels, log, MemoryWakeups(log), settings=settings, authorizer=authorizer, clock=SystemClock()
    )
    server = Server(node, "127.0.0.1", 0)
    node.start()
    await node.until_accepting()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
        await node.stop()


@asynccontextmanager
async def probing(url: str, *follow: str, **options: Any) -> AsyncIterator[Probe]:
    options.setdefault("random", random.Random(1))
    probe = Probe(url, **options)
    for channel in follow:
        probe.subscribe(channel)
    await probe.start()
    try:
        async with asyncio.timeout(20):
            yield probe
    finally:
        await probe.close()


def changed(row: int, version: int, weight: str = "") -> str:
    return json.dumps({"type": "Changed", "row": row, "version": version, "weight": weight})


def told(history: History) -> list[Mark]:
    """Its marks, all at the same time."""
    return [Received(m.row, m.version, 0.0) if isinstance(m, Received) else m for m in history.marks]


async def test_it_hears_what_it_follows_until_it_does_not() -> None:
    log = MemoryLog()
    log.broadcast("row_update", changed(1, 1))
    async with served(log) as server, probing(server.address) as probe:
        await probe.until_open()
        both = [probe.subscribe("row_update", START), probe.subscribe("rows.1")]
        await probe.until_live()
        log.broadcast("rows.1", changed(1, 1))
        await probe.settled(log.broadcast("row_update", changed(1, 2)))
        probe.unsubscribe("rows.1")
        log.broadcast("rows.1", changed(1, 2))
        await probe.settled(log.broadcast("row_update", changed(1, 3)))
        assert told(both[0]) == [Began(START), *(Received(1, n, 0.0) for n in (1, 2, 3))]
        began, heard, ended = told(both[1])
        assert (began, heard) == (Began(Cursor.parse("1/1.0/701:")), Received(1, 1, 0.0))
        assert isinstance(ended, Ended)
        assert judge(log.tail_now(START).records, both).ok


async def test_a_cursor_that_cannot_be_bridged_is_told_as_a_reset() -> None:
    log = MemoryLog()
    log.broadcast("row_update", changed(1, 1))
    log.trim(before=701)
    async with served(log) as server, probing(server.address) as probe:
        history = probe.subscribe("row_update", START)
        await probe.until_live()
        assert told(history) == [Began(START), WasReset("expired"), Began(Cursor.parse("1/1.0/701:"))]
        assert probe.resets == {"expired": 1}


async def test_a_final_close_stops_it_and_all_who_wait_are_told() -> None:
    authorizer = JwtAuthorizer("a secret of at least thirty-two bytes")
    async with (
        served(MemoryLog(), authorizer=authorizer) as server,
        probing(server.address, "row_update", token="nonsense", name="mallory") as probe,
    ):
        waits = [probe.until_live(), probe.settled(700)]
        found = await asyncio.gather(*waits, return_exceptions=True)
        assert [str(error) for error in found] == ["mallory has stopped (4500)"] * 2
        assert (probe.closes, probe.errors) == ({4500: 1}, {"invalid_token": 1})
    with pytest.raises(ProbeStopped):
        await probe.until_open()


async def test_a_closed_probe_tells_who_still_waits() -> None:
    async with served(MemoryLog()) as server, probing(server.address, "row_update") as probe:
        waiting = asyncio.create_task(probe.settled(900))
        await probe.until_live()
        await probe.close()
        with pytest.raises(ProbeStopped):
            await waiting
        assert probe.closes == {}


async def test_a_handler_that_fails_ends_the_probe_with_its_error() -> None:
    def fail(*_: object) -> None:
        raise LookupError("the test's own mistake")

    log = MemoryLog()
    async with served(log) as server:
        probe = Probe(server.address, on_event=fail)
        probe.subscribe("row_update")
        await probe.start()
        await probe.until_live()
        log.broadcast("row_update", changed(1, 1))
        with pytest.raises(LookupError):
            await probe.settled(900)
        with pytest.raises(LookupError):
            await probe.close()


async def test_one_that_does_not_read_is_sent_away_and_resumes() -> None:
    log = MemoryLog()
    async with served(log) as server, probing(server.address, "row_update") as probe:
        history = probe.subscribe("row_update", START)
        await probe.until_live()
        probe.stop_reading()
        async with probing(server.address, "row_update") as good:
            await good.until_live()
            for n in range(200):  # 10 MB: more than the kernel hides
                await good.settled(log.broadcast("row_update", changed(1, n + 1, "x" * 50_000)))
        probe.resume_reading()
        await probe.settled(log.snapshot().xmax - 1)
        assert probe.closes.keys() <= {4408, 1006}
        assert probe.connects == 2
        assert judge(log.tail_now(START).records, [history]).ok


async def test_one_that_is_blind_is_found_and_one_that_answers_is_kept() -> None:
    settings = Settings(drain_seconds=0.01, heartbeat_seconds=0.1, pong_timeout_seconds=0.05)
    async with (
        served(MemoryLog(), settings) as server,
        probing(server.address, "row_update") as good,
        probing(server.address, "row_update", answers_pings=False) as blind,
    ):
        await blind.until_live()
        await blind.until_attempted(1)
        assert blind.closes == {4409: 1}
        assert (good.closes, good.connects) == ({}, 1)


class Script:
    """A server that says what a test tells it to."""

    def __init__(self) -> None:
        self.connections: asyncio.Queue[ServerConnection] = asyncio.Queue()
        self.port = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/realtime"

    async def take(self, connection: ServerConnection) -> None:
        self.connections.put_nowait(connection)
        await connection.wait_closed()

    async def greet(self, heartbeat: float = 25.0) -> ServerConnection:
        """Take the next connection, and say hello."""
        connection = await self.connections.get()
        hello = {"protocol": 1, "schema": "0", "heartbeat": heartbeat, "cursor": "1/1.0/700:"}
        await say(connection, {"hello": hello})
        return connection


async def say(connection: ServerConnection, *frames: object) -> None:
    for frame in frames:
        await connection.send(json.dumps(frame))


async def asked(connection: ServerConnection) -> dict[str, Any]:
    frame: dict[str, Any] = json.loads(await connection.recv())
    return frame


@asynccontextmanager
async def scripted() -> AsyncIterator[Script]:
    script = Script()
    async with serve(script.take, "127.0.0.1", 0) as server:
        script.port = next(iter(server.sockets)).getsockname()[1]
        yield script


def event(n: int) -> dict[str, object]:
    return {"channel": "row_update", "payload": {"row": 1, "version": n}, "id": n}


async def test_after_a_wrong_count_it_resumes_from_its_last_good_position() -> None:
    async with scripted() as script, probing(script.url) as probe:
        history = probe.subscribe("row_update", START)
        connection = await script.greet()
        request = await asked(connection)
        subscribed = {"subscribed": ["row_update"], "cursor": "1/1.0/701:", "n": 1, "ref": request["ref"]}
        await say(connection, event(1), subscribed, event(2), {"cursor": "1/1.0/703:", "n": 2})
        with pytest.raises(ConnectionClosed) as closed:
            await connection.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4002
        assert (await asked(await script.greet()))["since"] == "1/1.0/701:"
        assert (probe.mismatches, probe.closes, probe.connects) == (1, {4002: 1}, 2)
        assert told(history) == [Began(START), Received(1, 1, 0.0)]


async def test_a_total_that_does_not_add_up_is_noticed_at_the_next_heartbeat() -> None:
    async with scripted() as script, probing(script.url) as probe:
        await say(await script.greet(), {"cursor": "1/1.0/703:", "n": 0, "sent": 1})
        await script.greet()
        assert probe.mismatches == 1


async def test_a_silent_server_is_left_after_two_and_a_half_heartbeats() -> None:
    async with scripted() as script, probing(script.url) as probe:
        await script.greet(heartbeat=0.1)
        started = asyncio.get_running_loop().time()
        await script.greet()
        assert 0.25 <= asyncio.get_running_loop().time() - started < 2
        assert probe.closes == {1006: 1}


async def test_it_comes_back_when_the_server_asked_it_to() -> None:
    async with scripted() as script, probing(script.url) as probe:
        connection = await script.greet()
        await say(connection, {"cursor": "1/1.0/700:", "n": 0}, {"bye": {"reconnect_after_ms": 400}})
        await connection.close(1012)
        started = asyncio.get_running_loop().time()
        await script.greet()
        assert 0.4 <= asyncio.get_running_loop().time() - started < 0.4 + 0.25 + 1
        assert probe.closes == {1012: 1}


class Recorded(random.Random):
    """Never waits, and keeps how long it might have."""

    def __init__(self) -> None:
        super().__init__(1)
        self.asked: list[float] = []

    def uniform(self, a: float, b: float) -> float:
        self.asked.append(b)
        return a


async def test_it_waits_longer_after_each_attempt_until_one_has_worked() -> None:
    recorded = Recorded()
    async with scripted() as script, probing(script.url, random=recorded):
        for worked in (False, False, True, False):
            connection = await script.greet()
            await say(connection, *([{"cursor": "1/1.0/700:", "n": 0}] if worked else []))
            await connection.close(1012)
        await script.greet()
    assert recorded.asked == pytest.approx([0.25, 0.325, 0.25, 0.325])


async def test_one_that_does_not_read_does_not_take_that_for_the_servers_silence() -> None:
    async with scripted() as script, probing(script.url) as probe:
        connection = await script.greet(heartbeat=0.4)
        await probe.until_open()
        probe.stop_reading()
        async with probing(script.url) as other:
            await script.greet(heartbeat=0.4)
            await other.until_attempted(1)  # silence was long enough for this one
        assert probe.closes == {}
        probe.resume_reading()
        settled = asyncio.create_task(probe.settled(7))
        assert await asked(connection) == {"settle": "7"}
        await say(connection, {"settled": "7", "cursor": "1/1.0/700:"})
        await settled
        assert (probe.closes, probe.connects) == ({}, 1)


async def test_what_is_not_a_websocket_is_tried_again() -> None:
    async with served(MemoryLog()) as server, probing(server.address + "s", "row_update") as probe:
        async with FaultProxy.open([]) as proxy:
            nobody = proxy.port
        async with probing(f"ws://127.0.0.1:{nobody}/realtime") as lonely:
            await asyncio.gather(probe.until_attempted(1), lonely.until_attempted(1))
            assert (probe.refusals, lonely.failures) == ({404: 1}, 1)


def before(server: Server) -> AbstractAsyncContextManager[FaultProxy]:
    url = urlsplit(server.address)
    assert url.hostname is not None
    assert url.port is not None
    return FaultProxy.open((url.hostname, url.port), chance=random.Random(1))
