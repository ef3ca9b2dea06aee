"""A node: it follows its log through failures and rewinds, and tells the truth about itself."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
import pytest

from flowcraft.adapters.asgi import json_sequence, split_sequence
from flowcraft.adapters.memory import MemoryLog, MemoryWakeups
from flowcraft.channels import Channels
from flowcraft.core.bundles import Framing
from flowcraft.cursors import Cursor
from flowcraft.errors import LogUnavailable
from flowcraft.events import Event
from flowcraft.records import Batch, Limit
from flowcraft.runtime import supervisor as supervisor_module
from flowcraft.runtime.clock import SystemClock
from flowcraft.runtime.gateway import Gateway
from flowcraft.runtime.node import Node
from flowcraft.runtime.supervisor import Supervisor
from flowcraft.settings import Settings


class Ping(Event):
    """Something."""


channels = Channels()
channels.declare("ping_update", Ping)


class FlakyLog(MemoryLog):
    """A log whose next reads can be made to fail."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 0
        self.failed = asyncio.Event()

    async def position(self) -> Batch:
        self._fail()
        return await super().position()

    async def tail(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        self._fail()
        return await super().tail(after, limit=limit)

    async def replay(self, after: Cursor, channels: Sequence[str], *, limit: Limit | None = None) -> Batch:
        self._fail()
        return await super().replay(after, channels, limit=limit)

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            self.failed.set()
            raise LogUnavailable("the database went to lunch")


class Recorder:
    """A connection that keeps what it is told."""

    def __init__(self) -> None:
        self.frames: list[dict[str, object]] = []
        self.closed: tuple[int, str] | None = None
        self.framing: Framing = json_sequence
        self.address = "a test"
        self.is_direct = True
        self.waiting_bytes = 0
        self._changed = asyncio.Event()

    def try_send(self, data: bytes) -> int:
        self.frames += map(msgspec.json.decode, split_sequence(data))
        self._changed.set()
        return 0

    def ping(self) -> None:
        pass

    def close(self, code: int, reason: str, rest: bytes = b"") -> None:
        Recorder.try_send(self, rest)
        self.closed = (code, reason)
        self._changed.set()

    async def until(self, member: str) -> dict[str, object]:
        """Wait for a frame with this member, and return it."""
        while True:
            for frame in self.frames:
                if member in frame:
                    self.frames.remove(frame)
                    return frame
            self._changed.clear()
            await self._changed.wait()


class Broken(Recorder):
    """A client whose socket fails at the first event."""

    def try_send(self, data: bytes) -> int:
        if b'"channel"' in data:
            raise OSError("the socket went to lunch")
        return super().try_send(data)


class FakeClock(SystemClock):
    """A clock that can be turned forward."""

    def __init__(self) -> None:
        self.turned = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.turned


@asynccontextmanager
async def running(
    log: MemoryLog, clock: FakeClock | None = None, settings: Settings | None = None
) -> AsyncIterator[Node]:
    node = Node(
        channels,
        log,
        MemoryWakeups(log),
        settings=settings or Settings(drain_seconds=0.01),
        authorizer=None,
        clock=clock or FakeClock(),
    )
    node.start()
    try:
        yield node
    finally:
        await node.stop()


async def test_a_log_that_cannot_be_read_at_first_is_tried_again() -> None:
    log = FlakyLog()
    log.failures = 2
    async with running(log) as node:
        await log.failed.wait()
        assert not node.accepting
        assert not node.report().ready
        await node.until_accepting()
        assert node.report().errors == {}


async def test_nothing_is_lost_while_the_log_cannot_be_read() -> None:
    log = FlakyLog()
    async with running(log) as node:
        await node.until_accepting()
        client = Recorder()
        node.connect(client, ["ping_update"])
        log.failures = 3
        log.broadcast("ping_update", "1")
        log.broadcast("ping_update", "2")
        await log.failed.wait()
        assert "went to lunch" in (await client_error(node))
        assert [(await client.until("channel"))["payload"] for _ in range(2)] == [1, 2]


async def test_a_connection_that_fails_is_closed_and_the_others_miss_nothing() -> None:
    log = MemoryLog()
    async with running(log) as node:
        await node.until_accepting()
        broken, client = Broken(), Recorder()
        node.connect(broken, ["ping_update"])
        node.connect(client, ["ping_update"])
        for n in (1, 2):
            log.broadcast("ping_update", str(n))
            assert (await client.until("channel"))["payload"] == n
        assert broken.closed == (1011, "the connection failed")
        assert (client.closed, node.report().connections) == (None, 1)


async def test_clients_are_sent_away_one_by_one_and_hear_everything_until_then() -> None:
    log = MemoryLog()
    async with running(log, settings=Settings(drain_seconds=0.4)) as node:
        await node.until_accepting()
        clients = [Recorder() for _ in range(4)]
        for client in clients:
            node.connect(client, ["ping_update"])
        began = asyncio.get_running_loop().time()
        draining = asyncio.create_task(node.drain())
        waits: list[int] = []
        for n, client in enumerate(clients):
            bye = msgspec.convert((await client.until("bye"))["bye"], dict[str, int])
            waits.append(bye["reconnect_after_ms"])
            log.broadcast("ping_update", str(n))
            for other in clients[n + 1 :]:
                assert (await other.until("channel"))["payload"] == n
        await draining
        assert all(0 <= ms <= 500 for ms in waits)
        assert 0.3 <= asyncio.get_running_loop().time() - began < 0.4
        assert node.report().connections == 0


async def test_without_clients_a_drain_takes_no_time() -> None:
    async with running(MemoryLog(), settings=Settings(drain_seconds=100)) as node:
        await node.until_accepting()
        await asyncio.wait_for(node.drain(), 5)
        assert not node.accepting


async def test_health_counts_subscriptions() -> None:
    async with running(MemoryLog()) as node:
        await node.until_accepting()
        gateway = node.connect(Recorder(), ["ping_update"])
        node.connect(Recorder())
        assert node.report().subscriptions == 1
        gateway.closed()
        assert node.report().subscriptions == 0


async def test_heartbeats_count_what_was_sent_on_each_connection() -> None:
    log = MemoryLog()
    async with running(log, settings=Settings(drain_seconds=0.01, heartbeat_seconds=0.05)) as node:
        await node.until_accepting()
        start = str(log.position_now().cursor)
        live, replayed, none, watcher = Recorder(), Recorder(), Recorder(), Recorder()
        node.connect(watcher, ["ping_update"])
        log.broadcast("ping_update", "1")
        await watcher.until("channel")  # so that those who come now are not told live
        node.connect(live, ["ping_update"])
        node.connect(replayed, ["ping_update"], start)
        node.connect(none)
        await replayed.until("subscribed")
        log.broadcast("ping_update", "2")
        for client in (live, replayed):
            while (await client.until("channel"))["payload"] != 2:
                pass
        for client, sent in ((live, 1), (replayed, 2), (none, 0)):
            client.frames.clear()
            assert (await client.until("sent"))["sent"] == sent


class Slow(Recorder):
    """A client that takes nothing until it is told to, and then one bundle."""

    gateway: Gateway

    def try_send(self, data: bytes) -> int:
        assert not self.waiting_bytes, "it is not writable"
        super().try_send(data)
        self.waiting_bytes = len(data)
        return self.waiting_bytes

    def take(self) -> None:
        self.waiting_bytes = 0
        self.gateway.writable()


async def slow_client_of_a_long_replay(log: MemoryLog, node: Node) -> Slow:
    """It has been told the first page of a replay of three megabytes."""
    watcher, client = Recorder(), Slow()
    start = str(log.position_now().cursor)
    node.connect(watcher, ["ping_update"])
    for _ in range(30):
        log.broadcast("ping_update", json.dumps("x" * 100_000))
    for _ in range(30):
        await watcher.until("channel")
    client.gateway = node.connect(client, ["ping_update"], start)
    await client.until("hello")
    client.take()
    await client.until("channel")
    return client


async def test_a_slow_client_has_a_page_of_a_long_replay_and_all_of_it_in_the_end() -> None:
    log = MemoryLog()
    async with running(log) as node:
        await node.until_accepting()
        client = await slow_client_of_a_long_replay(log, node)
        assert client.waiting_bytes < 200_000
        log.broadcast("ping_update", "1")
        for _ in range(29):
            client.take()
            await client.until("channel")
        client.take()
        assert (await client.until("subscribed"))["n"] == 30
        client.take()
        assert (await client.until("channel"))["payload"] == 1
        assert client.closed is None


async def test_a_client_that_falls_behind_while_it_catches_up_is_closed_once_it_has_come_further() -> None:
    log = MemoryLog()
    async with running(log) as node:
        await node.until_accepting()
        client, watcher = await slow_client_of_a_long_replay(log, node), Recorder()
        node.connect(watcher, ["ping_update"])
        for _ in range(20):
            log.broadcast("ping_update", json.dumps("y" * 100_000))
            await watcher.until("channel")
        for _ in range(29):
            assert client.closed is None
            client.take()
            assert str((await client.until("channel"))["payload"]).startswith("x")
        assert (await client.until("subscribed"))["n"] == 30
        closed = [client.closed]
        client.take()
        closed.append(client.closed)
        assert closed == [None, (4408, "too slow")]
        assert not any("channel" in frame for frame in client.frames)


async def test_a_client_that_is_sent_away_in_the_middle_of_a_replay_hears_the_bye() -> None:
    log = MemoryLog()
    async with running(log) as node:
        await node.until_accepting()
        client = await slow_client_of_a_long_replay(log, node)
        await node.drain()
        await client.until("bye")
        assert client.closed == (1012, "restart")
        assert not any("subscribed" in frame for frame in client.frames)


async def client_error(node: Node) -> str:
    while not node.report().errors:  # noqa: ASYNC110
        await asyncio.sleep(0)
    return node.report().errors["relay"]


async def test_a_node_that_cannot_read_its_log_takes_no_connections_until_it_can() -> None:
    log, clock = FlakyLog(), FakeClock()
    async with running(log, clock) as node:
        await node.until_accepting()
        client = Recorder()
        node.connect(client, ["ping_update"])
        clock.turned = 60
        assert (node.accepting, node.report().state) == (False, "stale")
        with pytest.raises(LogUnavailable):
            node.connect(Recorder())
        log.broadcast("ping_update", "1")
        await client.until("channel")
        assert (node.accepting, node.report().state) == (True, "live")


async def test_a_replay_that_cannot_be_read_sends_its_client_away_to_ask_again() -> None:
    log = FlakyLog()
    async with running(log, settings=Settings(drain_seconds=0.01, recent_bytes=1)) as node:
        await node.until_accepting()
        watcher, client = Recorder(), Recorder()
        node.connect(watcher, ["ping_update"])
        log.broadcast("ping_update", "11")
        await watcher.until("channel")  # so that the next read is the replay's
        log.failures = 1
        node.connect(client, ["ping_update"], since="1/1.0/700:")
        await client.until("bye")
        assert client.closed == (1012, "restart")
        assert node.report().connections == 1


async def test_a_database_that_lost_commits_resets_every_subscriber() -> None:
    log = MemoryLog()
    async with running(log) as node:
        await node.until_accepting()
        client = Recorder()
        node.connect(client, ["ping_update"])
        log.broadcast("ping_update", "1", xid=750)
        await client.until("channel")
        log.rewind(before=720)
        log.broadcast("ping_update", "2")
        reset = await client.until("reset")
        assert (reset["reset"], reset["reason"]) == (["ping_update"], "rewound")
        log.broadcast("ping_update", "3")
        assert (await client.until("channel"))["payload"] == 3


async def test_a_settle_does_not_wait_for_the_next_event() -> None:
    log = MemoryLog()
    async with running(log) as node:
        await node.until_accepting()
        client = Recorder()
        gateway = node.connect(client)
        silent = log.begin()
        gateway.received(f'{{"settle":"{silent.xid}"}}')
        silent.commit()
        assert (await client.until("settled"))["settled"] == str(silent.xid)


async def test_a_connection_waits_for_a_bounded_number_of_transactions() -> None:
    log = MemoryLog()
    async with running(log) as node:
        await node.until_accepting()
        client = Recorder()
        gateway = node.connect(client)
        for xid in range(1_000, 1_065):
            gateway.received(f'{{"settle":"{xid}"}}')
        error = (await client.until("error"))["error"]
        assert error == {
            "code": "limit_exceeded",
            "message": "at most 64 transactions to wait for; settle again when one has settled",
        }
        gateway.received('{"settle":"0"}')
        assert (await client.until("settled"))["settled"] == "0", "what is covered is answered at once"
        log.broadcast("ping_update", "1", xid=1_063)
        assert (await client.until("settled"))["settled"] == "1000"


async def test_a_kept_task_that_fails_is_restarted_and_reported() -> None:
    supervisor = Supervisor()
    runs = asyncio.Queue[int]()

    async def fail() -> None:
        runs.put_nowait(1)
        raise ValueError("no luck")

    supervisor.keep("unlucky", fail)
    for _ in range(3):
        await runs.get()
    health = supervisor.report()["unlucky"]
    assert (health.last_error, health.restarts) == ("ValueError: no luck", 2)
    await supervisor.stop()


async def test_what_a_kept_task_failed_with_is_told_until_it_has_run_well_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor_module, "WELL_SECONDS", 0.01)
    supervisor = Supervisor()
    runs = asyncio.Queue[int]()

    async def fail_once() -> None:
        runs.put_nowait(1)
        if not supervisor.report()["once"].last_error:
            raise ValueError("no luck")
        await asyncio.Event().wait()

    supervisor.keep("once", fail_once)
    await runs.get()
    await runs.get()
    again = supervisor.report()["once"]
    assert (again.state, again.restarts, again.last_error) == ("running", 1, "ValueError: no luck")
    async with asyncio.timeout(5):
        while supervisor.report()["once"].last_error:  # noqa: ASYNC110
            await asyncio.sleep(0)
    await supervisor.stop()


async def test_a_task_that_has_recovered_backs_off_from_the_beginning() -> None:
    state = supervisor_module.TaskState("relay")
    for _ in range(4):
        state.backoff.draw()
    assert state.backoff.bound == 16 * supervisor_module.FIRST_BACKOFF_SECONDS
    state.recovered()
    assert state.backoff.bound == supervisor_module.FIRST_BACKOFF_SECONDS


async def test_what_a_task_begins_while_it_is_cancelled_is_awaited_too() -> None:
    supervisor = Supervisor()
    begun, waits, cleaned = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def clean() -> None:
        waits.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            supervisor.spawn(clean(), "clean")
            await waits.wait()

    supervisor.spawn(work(), "work")
    await begun.wait()
    await supervisor.stop()
    assert cleaned.is_set()


async def test_a_node_tells_how_each_of_its_tasks_is_doing() -> None:
    async with running(MemoryLog()) as node:
        await node.until_accepting()
        health = node.report()
        assert (health.pid, health.wakeup) == (os.getpid(), "idle")
        assert {name: (task.state, task.restarts) for name, task in health.tasks.items()} == {
            "relay": ("running", 0),
            "heartbeat": ("running", 0),
            "outbox-sweep": ("running", 0),
        }


async def test_a_cancellation_that_a_library_swallows_is_sent_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor_module, "STOP_SECONDS", 0.01)
    supervisor = Supervisor()
    cancelled = 0

    async def swallow() -> None:
        nonlocal cancelled
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled += 1
        await asyncio.Event().wait()

    supervisor.spawn(swallow(), "library")
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await supervisor.stop()
    assert cancelled == 1
    assert "library did not end within 0.01 s; cancelled again" in caplog.text
