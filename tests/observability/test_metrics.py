"""Metrics: what a server tells Prometheus is what it did, and costs nothing until it is asked."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, cast

import asyncpg
import httpx
import msgspec
import pytest
import uvicorn
from prometheus_client import CollectorRegistry, generate_latest
from websockets.asyncio.client import ClientConnection, connect

from flowcraft import Channels, Event, Realtime, Settings, migrate
from flowcraft.adapters.memory import MemoryLog, MemoryWakeups
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.adapters.prometheus import METRICS, collector, exposition
from flowcraft.adapters.shared_metrics import FOLDER, SharedMetrics
from flowcraft.entrypoints import metrics
from flowcraft.entrypoints.serve import Server
from flowcraft.errors import LogUnavailable
from flowcraft.runtime.node import Node
from flowcraft.settings import Settings as NodeSettings
from tests.node.test_node import FakeClock, FlakyLog, Recorder
from tests.support.reports import blank_report
from tests.support.scraping import Scrape, scrape


class Counted(Event):
    """Something."""

    n: int


channels = Channels()
count_update = channels.declare("count_update", Counted)
run = channels.declare("runs.{run_id}", Counted, params={"run_id": int})
presence = channels.declare("presence_update", Counted, durable=False)
QUICK = Settings(drain_seconds=0.01)


@pytest.fixture
async def realtime(database: str) -> AsyncIterator[Realtime]:
    await migrate(database, channels)
    async with Realtime(channels, dsn=database, settings=QUICK) as realtime:
        yield realtime


@asynccontextmanager
async def serving(realtime: Realtime) -> AsyncIterator[str]:
    node = await realtime.start()
    await asyncio.wait_for(node.until_accepting(), 10)
    server = Server(node, "127.0.0.1", 0)
    await server.start()
    try:
        yield server.address
    finally:
        await server.stop()


async def until(client: ClientConnection, member: str) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while True:
            frame: dict[str, Any] = json.loads(await client.recv())
            if member in frame:
                return frame


async def subscribed(client: ClientConnection, *names: str, since: str | None = None) -> dict[str, Any]:
    request = {"subscribe": names} if since is None else {"subscribe": names, "since": since}
    await client.send(json.dumps(request))
    return await until(client, "reset" if since == "nonsense" else "subscribed")


async def test_a_server_tells_what_it_delivered_to_whom_and_how_late(realtime: Realtime) -> None:
    async with serving(realtime) as address, connect(address) as one, connect(address) as other:
        before = await subscribed(one, "runs.1", "runs.2")
        await subscribed(other, "runs.1", "presence_update")
        for channel in (run(3), run(1), run(2)):
            await realtime.broadcast(channel, Counted(n=1))
        await realtime.broadcast(presence, Counted(n=2))
        for client in (one, one, other, other):
            await until(client, "channel")
        async with connect(address) as late:
            assert (await subscribed(late, "runs.2", since=before["cursor"]))["n"] == 1
            await subscribed(late, "count_update", since="nonsense")
            told = await scrape(address)
    assert told.by("channel", "subscribers") == {
        "count_update": 1,
        "runs.{run_id}": 4,
        "presence_update": 1,
    }
    assert told.by("how", "delivered_events_total") == {"live": 3, "replay": 1, "ephemeral": 1}
    assert told.by("source", "replays_total") == {"memory": 1, "log": 0}
    assert told.by("reason", "resets_total") == {
        "expired": 0,
        "rewound": 0,
        "other_database": 0,
        "malformed": 1,
        "unreadable": 0,
        "truncated": 0,
        "redeclared": 0,
    }
    assert set(told.by("work", "failures_total").values()) == {0}
    assert (told("connections"), told("connections_opened_total"), told("resumes_total")) == (3, 3, 2)
    assert (told("ready"), told.by("state", "state")["live"]) == (1, 1)
    assert told.by("state", "wakeup") == {"polling": 0, "follower": 0, "leader": 0, "idle": 1}
    assert told("relay_events_total") == 3
    assert told("commit_to_socket_seconds_count") == 2  # nobody follows the first
    assert told("commit_to_socket_seconds_sum") > 0
    assert told.by("le", "commit_to_socket_seconds_bucket")["+Inf"] == 2
    assert told("delivered_bytes_total") > 5 * len('{"type":"Counted","n":1}')


async def test_the_log_says_when_the_oldest_of_its_events_was_stated_and_not_when_it_was_committed(
    realtime: Realtime,
) -> None:
    log, connection = PostgresLog(realtime.dsn), await asyncpg.connect(realtime.dsn)
    start = await log.position()
    times: list[datetime] = []
    async with connection.transaction():
        for channel in (run(1), run(2)):
            times.append(await connection.fetchval("select clock_timestamp()"))
            await realtime.broadcast(channel, Counted(n=1), via=connection)
        times.append(await connection.fetchval("select clock_timestamp()"))
    batch = await log.tail(start.cursor)
    assert batch.oldest is not None
    assert times[0] <= batch.oldest <= times[1]
    await connection.execute("update flowcraft.event set broadcast_at = null")  # as before an upgrade
    assert (await log.tail(start.cursor)).oldest is None
    await connection.close()
    await log.close()


async def test_every_metric_is_told_and_a_registry_of_your_own_may_have_them(realtime: Realtime) -> None:
    async with serving(realtime) as address:
        node = await realtime.start()
        registry = CollectorRegistry(auto_describe=True)
        registry.register(collector(lambda: [node.report()]))
        node.counts.skipped["count_update"] = {"payload_invalid": 1}
        ours, yours = await scrape(address), Scrape(generate_latest(registry).decode())
    assert ours.names == yours.names
    assert ours.names == {
        f"flowcraft_{metric.name}{suffix}"
        for metric in METRICS
        if not metric.name.startswith("edge_")  # it is none
        for suffix in (("_bucket", "_sum", "_count") if metric.kind == "histogram" else (metric.suffix,))
    }


@asynccontextmanager
async def running(log: MemoryLog, settings: NodeSettings, clock: FakeClock) -> AsyncIterator[Node]:
    node = Node(channels, log, MemoryWakeups(log), settings=settings, authorizer=None, clock=clock)
    node.start()
    try:
        await node.until_accepting()
        yield node
    finally:
        await node.stop()


class Slow(Recorder):
    """A connection whose client takes nothing."""

    def try_send(self, data: bytes) -> int:
        super().try_send(data)
        self.waiting_bytes = len(data)
        return self.waiting_bytes


async def test_the_bytes_that_wait_in_outboxes_and_carriers_are_counted() -> None:
    async with running(MemoryLog(), QUICK, FakeClock()) as node:
        node.connect(Recorder(), ["count_update"])
        connections = [Slow(), Slow()]
        for connection in connections:
            node.connect(connection)
        report = node.report()
        greeting = connections[0].waiting_bytes
        assert greeting > 0
        assert (report.waiting_connections, report.outbox_bytes) == (2, 2 * greeting)
        node.connect(Slow(), ["count_update"])
        assert node.report().outbox_bytes > 3 * greeting  # the answer to its subscription waits in an outbox


async def test_the_relays_lag_grows_while_the_log_cannot_be_read() -> None:
    log, clock = FlakyLog(), FakeClock()
    async with running(log, QUICK, clock) as node:
        log.failures = 10**6
        log.broadcast("count_update", "1")
        await log.failed.wait()
        clock.turned += 100
        told = Scrape(exposition([node.report()]))
        assert told("relay_lag_seconds") >= 100
        assert (told("ready"), told.by("state", "state")["stale"]) == (0, 1)
        log.failures = 0
        client = Recorder()
        with pytest.raises(LogUnavailable):
            node.connect(client)


async def test_shared_metrics_show_every_process_that_runs_and_none_that_has_ended(
    tmp_path: Path,
) -> None:
    ended = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await ended.wait()
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE
    )
    for pid in (ended.pid, other.pid):
        (tmp_path / f"{pid}.json").write_bytes(msgspec.json.encode(blank_report(pid)))
    (tmp_path / "notes.json").write_text("not ours")
    assert [report.pid for report in SharedMetrics(tmp_path).read()] == [other.pid]
    await other.communicate(b"\n")


@asynccontextmanager
async def on_uvicorn(realtime: Realtime) -> AsyncIterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    app = cast(Callable[..., Any], realtime.asgi())
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="websockets-sansio"))
    task = asyncio.create_task(server.serve([listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


async def test_an_asgi_application_tells_below_the_path_of_its_websocket(realtime: Realtime) -> None:
    async with on_uvicorn(realtime) as url, httpx.AsyncClient() as http:
        answer = await http.get(f"{url}/realtime/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert Scrape(answer.text)("connections") == 0


async def test_processes_of_an_application_may_share_a_board(
    realtime: Realtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path / "made"))
    async with on_uvicorn(realtime) as url, httpx.AsyncClient() as http:
        async with asyncio.timeout(20):
            while not (found := Scrape((await http.get(f"{url}/realtime/metrics")).text).values):
                pass
        assert {dict(labels)["pid"] for _, labels in found} == {str(measured_pid(tmp_path / "made"))}
    assert list((tmp_path / "made").iterdir()) == []


def measured_pid(folder: Path) -> int:
    (measures,) = SharedMetrics(folder).read()
    return measures.pid


async def test_without_prometheus_client_the_page_says_what_to_install(
    realtime: Realtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    async with serving(realtime) as address:
        host = address.removeprefix("ws://").removesuffix("/realtime")
        status, body = await asyncio.to_thread(get, host, "/metrics")
    assert (status, body) == (
        501,
        "metrics need the package prometheus-client; run pip install 'flowcraft-realtime[metrics]'\n",
    )


def get(host: str, path: str) -> tuple[int, str]:
    connection = HTTPConnection(host, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_where_nothing_can_be_written_the_workers_start_without_a_board(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc/nowhere")
    monkeypatch.setattr(metrics, "_IN_MEMORY", Path("/proc/nowhere"))
    with metrics.shared_folder():
        assert SharedMetrics.found() is None
    assert "each scrape reaches one arbitrary worker" in caplog.text


def test_workers_have_a_board_until_they_have_ended() -> None:
    with metrics.shared_folder():
        folder = Path(os.environ[FOLDER])
        assert folder.is_dir()
    assert (folder.exists(), SharedMetrics.found()) == (False, None)
