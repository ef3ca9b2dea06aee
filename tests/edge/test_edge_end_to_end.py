"""From PostgreSQL through `flowcraft relay`, NATS and an edge without a database to a WebSocket client."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from flowcraft import Channels, Realtime, Settings
from flowcraft.adapters.memory import MemoryBackend
from flowcraft.adapters.nats.backend import NatsBackend
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.entrypoints.realtime import NotOnPostgres
from flowcraft.errors import LogUnavailable, PayloadInvalid
from tests.support.edge_application import Counted, channels, count_update, cursor_update
from tests.support.hosts import free_port
from tests.support.nats import NatsServer
from tests.support.postgres import connected
from tests.support.served import served, until

FLOWCRAFT = Path(sys.executable).parent / "flowcraft"
SECONDS = 20.0
APPLICATION = "tests.support.edge_application:realtime"
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Relay:
    """`flowcraft relay` as a process, and the port of its pages."""

    process: asyncio.subprocess.Process
    port: int

    async def page(self, path: str) -> tuple[int, str]:
        return await asyncio.to_thread(_get, f"http://127.0.0.1:{self.port}{path}")

    async def until(self, state: str) -> dict[str, Any]:
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    found: dict[str, Any] = json.loads((await self.page("/readyz"))[1])
                except OSError:
                    found = {}
                if found.get("state") == state and found["ready"]:
                    return found
                await asyncio.sleep(0.02)


def _get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@asynccontextmanager
async def relaying(dsn: str, url: str, port: int) -> AsyncIterator[Relay]:
    environment = {**os.environ, "FLOWCRAFT_DSN": dsn, "FLOWCRAFT_LOG_URL": url}
    process = await asyncio.create_subprocess_exec(
        *(FLOWCRAFT, "relay", APPLICATION, "--port", str(port)), cwd=ROOT, env=environment
    )
    try:
        yield Relay(process, port)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def client_of(address: str, **request: object) -> AsyncIterator[ClientConnection]:
    async with connect(address) as client:
        await client.send(json.dumps(request))
        await until(client, "subscribed")
        yield client


@pytest.fixture
async def dsn(database: str) -> str:
    async with connected(database) as connection:
        await connection.execute("create table tasks (id int primary key, title text not null)")
        await migrate(connection, channels)
    return database


@pytest.fixture
def edge(nats: NatsServer, monkeypatch: pytest.MonkeyPatch) -> Realtime:
    """An application as it is, in an environment with an address of NATS and none of a database."""
    for name in ("FLOWCRAFT_DSN", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FLOWCRAFT_LOG_URL", nats.url)
    return Realtime(channels, settings=Settings(drain_seconds=0.01))


async def test_an_edge_serves_what_a_node_on_the_database_serves(
    edge: Realtime, dsn: str, nats: NatsServer
) -> None:
    async with relaying(dsn, nats.url, free_port()) as relay:
        await relay.until("leading")
        async with (
            served(edge) as (node, address),
            client_of(address, subscribe=["count_update", "cursor_update"]) as client,
            connected(dsn) as connection,
        ):
            # a commit
            await connection.execute("""select flowcraft.broadcast('count_update', '{"n":1}')""")
            assert (await until(client, "payload"))["payload"]["n"] == 1
            # a transaction without events, settled
            xid = await connection.fetchval("select pg_current_xact_id()::text")
            await client.send(json.dumps({"settle": xid}))
            assert (await until(client, "settled"))["settled"] == xid
            # broadcasts of the edge itself
            await edge.broadcast(count_update, Counted(n=2))
            assert (await until(client, "payload"))["payload"]["n"] == 2
            await edge.broadcast(cursor_update, Counted(n=3))
            frame = await until(client, "payload")
            assert (frame["channel"], frame["payload"]["n"]) == ("cursor_update", 3)
            # in a transaction of the application's own
            async with connection.transaction():
                await edge.broadcast(count_update, Counted(n=4), via=connection)
            assert (await until(client, "payload"))["payload"]["n"] == 4
            # rows
            await connection.execute("insert into tasks values (1, 'one')")
            await client.send(json.dumps({"subscribe": ["task_rows"], "rows": True}))
            assert (await until(client, "rows"))["rows"] == "task_rows"
            await until(client, "subscribed")
            await connection.execute("update tasks set title = 'two'")
            assert (await until(client, "payload"))["payload"]["title"] == "two"
            # a right that ends, here and on every other node
            assert node.report().counts.events > 0
            await edge.revoke("ana", count_update)
            written = await connection.fetchval("select payload from flowcraft.event where kind = 'w'")
            assert json.loads(written) == {"viewer": "ana", "channel": "count_update", "ask": False}
            assert node.report().errors == {}
            seen = node.report().edge
            assert seen is not None
            assert (seen.fresh, seen.gaps, seen.rejected, seen.asked > 0) == (True, 0, 0, True)
            report = await relay.until("leading")
            assert (report["edges"], report["published"] > 0) == (1, True)
            page = (await relay.page("/metrics"))[1]
            assert f'answers_total{{ask="position"}} {report["answered"]["position"]}\n' in page
            status, metrics = await relay.page("/metrics")
            assert (status, "flowcraft_relay_leading 1\n" in metrics) == (200, True)
            assert (await relay.page("/healthz"))[0] == 200
            assert (await relay.page("/elsewhere"))[0] == 404


async def test_a_relay_that_is_killed_is_replaced_by_one_that_stands_by(
    edge: Realtime, dsn: str, nats: NatsServer
) -> None:
    async with relaying(dsn, nats.url, free_port()) as first:
        await first.until("leading")
        async with (
            relaying(dsn, nats.url, free_port()) as second,
            served(edge) as (_, address),
            client_of(address, subscribe=["count_update"]) as client,
            connected(dsn) as connection,
        ):
            await second.until("standing by")
            first.process.kill()
            for n in range(5):
                await connection.execute("select flowcraft.broadcast('count_update', $1)", f'{{"n":{n}}}')
            assert [(await until(client, "payload"))["payload"]["n"] for _ in range(5)] == list(range(5))
            await second.until("leading")
            # One that is asked to stop leaves at once: nobody has to wait for its beats to end.
            second.process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(second.process.wait(), SECONDS) == 0


async def test_what_a_relay_refuses_reaches_the_caller(edge: Realtime, dsn: str, nats: NatsServer) -> None:
    other = Channels()
    unknown = other.declare("unknown_update", Counted)
    with pytest.raises(LogUnavailable, match="no relay"):
        await edge.broadcast(count_update, Counted(n=1))
    async with relaying(dsn, nats.url, free_port()) as relay:
        await relay.until("leading")
        await edge.broadcast(count_update, Counted(n=1))
        with pytest.raises(PayloadInvalid):
            await edge.broadcast(count_update, Counted(n="one"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        with pytest.raises(Exception, match="unknown_update"):
            await edge.broadcast(unknown, Counted(n=1))
    async with connected(dsn) as connection:
        found = await connection.fetch("select channel, payload from flowcraft.event where kind = 'e'")
    assert [tuple(row) for row in found] == [("count_update", '{"type":"Counted","n":1}')]


def test_the_environment_makes_an_edge_of_an_application(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWCRAFT_LOG_URL", "nats://a:4222")
    monkeypatch.setenv("FLOWCRAFT_DSN", "postgresql://b/c")
    realtime = Realtime(channels)
    assert isinstance(realtime.backend, NatsBackend)
    assert realtime.dsn == "postgresql://b/c"
    own = Realtime(channels, backend=MemoryBackend())
    assert isinstance(own.backend, MemoryBackend)
    with pytest.raises(NotOnPostgres):
        _ = own.dsn


def test_without_an_address_of_nats_nothing_of_it_is_imported() -> None:
    program = (
        "import sys; from flowcraft import Channels, Realtime; import flowcraft.entrypoints.serve; "
        "Realtime(Channels()); "
        "sys.exit(', '.join(n for n in sys.modules if n == 'nats' or '.nats' in n) or 0)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "FLOWCRAFT_LOG_URL"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        ((), 2, "error: where is NATS? pass --log-url"),
        (("--log-url", "http://a"), 1, "error: 'http://a': FLOWCRAFT_LOG_URL is of the form nats://"),
        (("--log-url", "nats://a"), 1, "error: no database"),
    ],
)
def test_the_command_says_what_it_lacks(arguments: tuple[str, ...], status: int, line: str) -> None:
    left_out = {"FLOWCRAFT_LOG_URL", "FLOWCRAFT_DSN", "DATABASE_URL"}
    done = subprocess.run(
        [FLOWCRAFT, "relay", APPLICATION, *arguments],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k not in left_out},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr[: len(line)], done.stderr.count("\n")) == (status, line, 1)


async def doctor(url: str, dsn: str = "") -> tuple[int, list[tuple[str, str, str]]]:
    environment = {k: v for k, v in os.environ.items() if k not in {"FLOWCRAFT_DSN", "DATABASE_URL"}}
    arguments = ["--log-url", url, *(["--dsn", dsn] if dsn else [])]
    done = await asyncio.to_thread(
        lambda: subprocess.run(
            [FLOWCRAFT, "doctor", "--json", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    )
    assert done.stdout, done.stderr
    lines = [(line["about"], line["verdict"], line["sentence"]) for line in json.loads(done.stdout)]
    return done.returncode, [line for line in lines if line[0] in {"nats", "relays", "edge", "stream"}]


@pytest.mark.world
async def test_doctor_sees_nats_and_its_relays_as_an_edge_does(dsn: str, nats: NatsServer) -> None:
    status, lines = await doctor("nats://127.0.0.1:1")
    assert (status, lines[0][:2], "cannot be reached" in lines[0][2]) == (1, ("nats", "wrong"), True)
    status, lines = await doctor(nats.url)
    assert (status, [line[:2] for line in lines]) == (1, [("nats", "ok"), ("relays", "wrong")])
    assert "flowcraft relay" in lines[1][2]
    async with relaying(dsn, nats.url, free_port()) as relay:
        await relay.until("leading")
        status, lines = await doctor(nats.url, dsn)
        assert status == 0, lines
        assert [line[:2] for line in lines] == [("nats", "ok"), ("relays", "ok"), ("edge", "ok")]


@pytest.mark.world
async def test_doctor_reads_the_stream_as_an_edge_does(dsn: str, nats: NatsServer) -> None:
    url = f"{nats.url}?stream=shop"
    async with relaying(dsn, url, free_port()) as relay:
        assert (await relay.until("leading"))["stream"] is True
        assert "flowcraft_relay_stream 1\n" in (await relay.page("/metrics"))[1]
        status, lines = await doctor(url)
        assert (status, lines[-1][:2]) == (0, ("stream", "ok")), lines
        status, lines = await doctor(f"{nats.url}?stream=other")
        assert (status, lines[-1][:2]) == (1, ("stream", "wrong"))
        assert "$JS.API.DIRECT.GET.other" in lines[-1][2]


@pytest.mark.world
async def test_the_demo_runs_through_nats(nats: NatsServer) -> None:
    del nats  # it skips where there is no nats-server
    environment = {k: v for k, v in os.environ.items() if k not in {"FLOWCRAFT_DSN", "DATABASE_URL"}}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "examples.flowcraft.demo"),
        cwd=Path(__file__).parents[2],
        env={**environment, "EDGE": "nats", "PORT": "0", "DEMO_QUIET": "1"},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(2 * SECONDS):
            page = ""
            while not page:
                name, _, rest = (await process.stdout.readline()).decode().partition(" ")
                page = rest.strip() if name == "page" else ""
            while True:
                status, text = await asyncio.to_thread(_get, f"{page}realtime/readyz")
                if status == 200:
                    break
                await asyncio.sleep(0.1)
        report = json.loads(text)
        assert (report["wakeup"], "nats" in report["tasks"]) == ("follower", True)
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), SECONDS)
