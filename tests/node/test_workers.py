"""Workers: several server processes on one port, kept, replaced and ended together."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from flowcraft.adapters.postgres.schema import migrate
from flowcraft.channels import Channels
from flowcraft.entrypoints.shared_port import SharedPort
from flowcraft.entrypoints.worker import ACCEPTING, LISTENING
from tests.support.postgres import connected
from tests.support.scraping import Scrape, scrape

if TYPE_CHECKING:
    from tests.support.postgres import Plain

APPLICATION = """
from flowcraft import Channels, Event, Realtime, Settings

class Counted(Event):
    n: int

channels = Channels()
channels.declare("count_update", Counted)
realtime = Realtime(channels, settings=Settings(drain_seconds=0.2))
"""


class Served:
    """A `flowcraft serve` with workers."""

    def __init__(self, process: asyncio.subprocess.Process, address: str) -> None:
        self.process = process
        self.seen: set[int] = set()
        self.address = address
        self.host, port = address.removeprefix("ws://").removesuffix("/realtime").split(":")
        self.port = int(port)

    async def pid(self) -> int | None:
        """Ask whoever takes a new connection who it is; None if that one cannot serve."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
        pid = int(json.loads(body)["pid"])
        self.seen.add(pid)
        return pid if b" 200 " in head else None

    async def pids(self, enough: Callable[[set[int]], bool]) -> set[int]:
        """Ask again until those who answered are enough."""
        found: set[int] = set()
        async with asyncio.timeout(20):
            while not enough(found):
                with suppress(OSError):
                    found |= {pid} if (pid := await self.pid()) else set()
        return found

    async def until_logged(self, text: str) -> None:
        assert self.process.stderr is not None
        async with asyncio.timeout(20):
            while text not in (line := (await self.process.stderr.readline()).decode()):
                assert line

    async def end(self) -> int:
        self.process.terminate()
        return await asyncio.wait_for(self.process.wait(), 20)


@asynccontextmanager
async def served(folder: Path, dsn: str, workers: int = 2) -> AsyncIterator[Served]:
    (folder / "live.py").write_text(APPLICATION)
    await migrate(dsn, Channels())
    process = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).parent / "flowcraft", "serve", "live:realtime", "--port", "0"),
        *("--workers", str(workers)),
        cwd=folder,
        env={**os.environ, "FLOWCRAFT_DSN": dsn},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    server = Served(process, (await asyncio.wait_for(process.stdout.readline(), 20)).decode().strip())
    try:
        yield server
    finally:
        for pid in (process.pid, *server.seen):  # none of them runs, unless the test has failed
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _, log = await process.communicate()
        sys.stderr.write(log.decode())


class Client:
    """A client that comes back with its cursor as soon as it is sent away, and notes who refused it."""

    def __init__(self, address: str) -> None:
        self.numbers: list[int] = []
        self.sent_away: list[int] = []
        self.refusals: list[str] = []
        self._address = address
        self._cursor: str | None = None
        self._changed = asyncio.Event()

    async def run(self) -> None:
        while True:
            try:
                async with connect(self._address) as socket:
                    await self._follow(socket)
            except (OSError, InvalidHandshake) as error:
                self.refusals.append(repr(error))
                await asyncio.sleep(0.05)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_subscribed(self) -> None:
        await self.until(lambda: self._cursor is not None)

    async def _follow(self, socket: ClientConnection) -> None:
        since = {"since": self._cursor} if self._cursor else {}
        await socket.send(json.dumps({"subscribe": ["count_update"], **since}))
        group: list[int] = []
        try:
            while True:
                frame = json.loads(await socket.recv())
                if "channel" in frame:
                    group.append(frame["payload"]["n"])
                elif "subscribed" in frame or "cursor" in frame:
                    self.numbers += group
                    self._cursor, group = frame["cursor"], []
                    self._changed.set()
        except ConnectionClosed as closed:
            self.sent_away.append(closed.rcvd.code if closed.rcvd else 1006)
            self._changed.set()


@asynccontextmanager
async def following(served: Served) -> AsyncIterator[Client]:
    client = Client(served.address)
    task = asyncio.create_task(client.run())
    try:
        await client.until_subscribed()
        yield client
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def emit(connection: Plain, *numbers: int) -> None:
    for n in numbers:
        payload = json.dumps({"type": "Counted", "n": n})
        await connection.execute("select flowcraft.broadcast('count_update', $1::text::json)", payload)


def two(pids: set[int]) -> bool:
    return len(pids) == 2


async def until_gone(*pids: int) -> None:
    async with asyncio.timeout(20):
        for pid in pids:
            while is_running(pid):  # noqa: ASYNC110  # not our children: nothing tells us of their end
                await asyncio.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_a_worker_that_is_killed_comes_back_and_its_clients_resume_without_loss(
    tmp_path: Path, database: str
) -> None:
    async with served(tmp_path, database) as server, connected(database) as connection:
        pids = await server.pids(two)
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(following(server)) for _ in range(8)]
            await emit(connection, 1, 2, 3)
            killed = min(pids)
            os.kill(killed, signal.SIGKILL)
            await emit(connection, 4, 5, 6)
            for client in clients:
                await client.until(lambda: len(client.numbers) >= 6)  # noqa: B023
                assert client.numbers == [1, 2, 3, 4, 5, 6]
        again = await server.pids(lambda found: len(found - {killed}) == 2)
        assert len(again & pids) == 1
        assert await server.end() == 0
        await until_gone(*again)


async def test_sighup_replaces_every_worker_and_no_connection_is_refused(
    tmp_path: Path, database: str
) -> None:
    async with served(tmp_path, database) as server, connected(database) as connection:
        before = await server.pids(two)
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(following(server)) for _ in range(8)]
            server.process.send_signal(signal.SIGHUP)
            n, answered = 0, set[int | None]()
            async with asyncio.timeout(30):
                while len(answered - before - {None}) < 2 or any(map(is_running, before)):
                    await emit(connection, n := n + 1)
                    answered.add(await server.pid())
            for client in clients:
                await client.until(lambda: len(client.numbers) >= n)  # noqa: B023
                assert client.numbers == list(range(1, n + 1))
                assert (client.refusals, set(client.sent_away) <= {1012}) == ([], True)
        assert sum(len(client.sent_away) for client in clients) >= 8
        assert None not in answered
        assert len(await server.pids(two) & before) == 0


async def test_whichever_worker_is_asked_for_metrics_tells_of_all_and_never_of_less_than_before(
    tmp_path: Path, database: str
) -> None:
    async with served(tmp_path, database) as server, connected(database) as connection:
        pids = await server.pids(two)
        told: dict[str, float] = {}

        async def until(condition: Callable[[Scrape], bool]) -> Scrape:
            async with asyncio.timeout(20):
                while True:
                    with suppress(OSError):  # whoever was asked has just been killed
                        found = await scrape(server.address)
                        events = found.by("pid", "delivered_events_total", how="live")
                        assert all(events.get(pid, before) >= before for pid, before in told.items())
                        told.update(events)
                        if condition(found):
                            return found

        async with AsyncExitStack() as stack:
            for _ in range(8):
                await stack.enter_async_context(following(server))
            await emit(connection, 1, 2, 3)
            both = await until(lambda found: sum(told.values()) == 8 * 3)
            assert both.by("pid", "connections").keys() == set(map(str, pids))
            assert sum(both.by("pid", "subscribers", channel="count_update").values()) == 8
            assert sum(both.by("pid", "commit_to_socket_seconds_count").values()) in (3, 6)
            killed = str(min(pids))
            os.kill(int(killed), signal.SIGKILL)
            after = await until(lambda found: len(found.by("pid", "connections").keys() - {killed}) == 2)
            assert killed not in after.by("pid", "connections")
        server.seen |= set(map(int, told))


async def test_a_replacement_that_cannot_start_leaves_the_old_worker_in_its_place(
    tmp_path: Path, database: str
) -> None:
    async with served(tmp_path, database) as server:
        before = await server.pids(two)
        (tmp_path / "live.py").write_text("nonsense")
        server.process.send_signal(signal.SIGHUP)
        await server.until_logged("rolling restart stopped: the new worker 1 cannot serve")
        assert await server.pids(two) == before


async def test_no_worker_outlives_its_parent(tmp_path: Path, database: str) -> None:
    async with served(tmp_path, database) as server:
        pids = await server.pids(two)
        server.process.kill()
        await until_gone(*pids)


async def test_a_worker_ends_in_order_with_the_input_that_its_parent_held(
    tmp_path: Path, database: str
) -> None:
    (tmp_path / "live.py").write_text(APPLICATION)
    await migrate(database, Channels())
    port, (ours, theirs) = SharedPort("127.0.0.1", 0), os.pipe()
    (listener,) = port.sockets()
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "flowcraft.entrypoints.cli", "serve", "live:realtime"),
        *("--worker", f"1:{theirs}:{listener.fileno()}"),
        cwd=tmp_path,
        env={**os.environ, "FLOWCRAFT_DSN": database},
        stdin=asyncio.subprocess.PIPE,
        pass_fds=(theirs, listener.fileno()),
    )
    os.close(theirs)
    with os.fdopen(ours, "rb") as progress:
        assert [await asyncio.to_thread(progress.readline) for _ in range(2)] == [LISTENING, ACCEPTING]
    assert worker.stdin is not None
    worker.stdin.close()
    assert await asyncio.wait_for(worker.wait(), 10) == 0
    listener.close()
    port.close()


def test_a_port_that_somebody_listens_on_is_not_shared_and_a_shared_one_is_not_taken() -> None:
    port = SharedPort("127.0.0.1", 0)
    number = port.first.getsockname()[1]
    one, other = *port.sockets(), *port.sockets()
    one.listen()
    other.listen()
    with pytest.raises(OSError, match="in use"):
        SharedPort("127.0.0.1", number)
    with pytest.raises(OSError, match="in use"):
        socket.create_server(("127.0.0.1", number))
    for each in (one, other):
        each.close()
    port.close()


def test_every_address_of_a_host_has_the_same_port() -> None:
    port = SharedPort("", 0)
    given = port.sockets()
    names = [each.getsockname() for each in given]
    for each in given:
        each.close()
    port.close()
    assert len({name[1] for name in names}) == 1
    assert "0.0.0.0" in {name[0] for name in names}
