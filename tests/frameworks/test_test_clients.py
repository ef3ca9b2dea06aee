"""In-process test clients: each has an event loop of its own, and some of them one for each request."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI

from flowcraft import Channels, Event, Realtime, Settings, migrate
from flowcraft.testing.databases import DatabaseServer as Server
from flowcraft.testing.databases import database as empty_database
from tests.support.postgres import connected

with warnings.catch_warnings():  # it would rather have another client than httpx
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Noted(Event):
    """A number."""

    n: int


channels = Channels()
note_update = channels.declare("note_update", Noted)
MOUNTS = ["wrapped", "mounted with a lifespan", "mounted alone"]
LOOPS = [{}, {"backend_options": {"use_uvloop": True}}]


@pytest.fixture
def realtime(database: str) -> Realtime:
    asyncio.run(migrate(database, channels))
    return Realtime(channels, dsn=database, settings=Settings(drain_seconds=0.01))


def application(realtime: Realtime, mount: str) -> Any:
    """An application that broadcasts on a POST, with ours at `/live/`."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with realtime:
            yield

    api = FastAPI(lifespan=lifespan if mount == "mounted with a lifespan" else None)

    @api.post("/notes/{n}")
    async def note(n: int) -> None:
        await realtime.broadcast(note_update, Noted(n=n))

    if mount == "wrapped":
        return realtime.asgi(api, path="/live")
    api.mount("/live", realtime.asgi())
    return api


def client_of(app: Any, **options: Any) -> Any:
    return TestClient(app, **options)


def path_of(mount: str) -> str:
    return "/live" if mount == "wrapped" else "/live/"


def payload(client: Any) -> object:
    while "payload" not in (frame := client.receive_json()):
        pass
    return frame["payload"]["n"]


@pytest.mark.parametrize("options", LOOPS, ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("mount", MOUNTS)
def test_one_client_after_another_receives_events_with_and_without_the_lifespan(
    realtime: Realtime, mount: str, options: dict[str, Any]
) -> None:
    app = application(realtime, mount)
    for n, entered in enumerate([True, True, False, False, True, False]):
        with ExitStack() as stack:
            http = client_of(app, **options)
            if entered:
                stack.enter_context(http)
            with http.websocket_connect(f"{path_of(mount)}?channel=note_update") as client:
                assert "hello" in client.receive_json()
                assert client.receive_json()["subscribed"] == ["note_update"]
                assert http.post(f"/notes/{n}").status_code == 200
                assert payload(client) == n


@pytest.mark.parametrize("options", LOOPS, ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("mount", MOUNTS)
def test_a_client_may_leave_in_any_state_also_by_an_error_of_the_test(
    realtime: Realtime, mount: str, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with client_of(application(realtime, mount), **options) as http:
        path = path_of(mount)
        with http.websocket_connect(path):
            pass  # nothing was read
        with http.websocket_connect(path) as client:
            client.send_json({"subscribe": ["note_update"]})
        with pytest.raises(ZeroDivisionError):
            _fail_while_subscribed(http, path)
        with http.websocket_connect(path) as client:
            client.send_bytes(b"no text")
            assert "hello" in client.receive_json()
            assert client.receive()["code"] == 1003
        with http.websocket_connect(path) as one, http.websocket_connect(path) as two:
            for client in (one, two):
                client.send_json({"subscribe": ["note_update"]})
            http.post("/notes/7")
            assert [payload(one), payload(two)] == [7, 7]
            one.close()
            http.post("/notes/8")
            assert payload(two) == 8
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


def _fail_while_subscribed(http: Any, path: str) -> None:
    with http.websocket_connect(path) as client:
        client.send_json({"subscribe": ["note_update"]})
        raise ZeroDivisionError


@pytest.mark.parametrize("mount", ["wrapped", "mounted alone"])
def test_two_websockets_in_two_loops_at_once_are_refused_with_the_reason(
    realtime: Realtime, mount: str
) -> None:
    http = client_of(application(realtime, mount))
    with http.websocket_connect(f"{path_of(mount)}?channel=note_update") as client:
        with pytest.raises(RuntimeError, match=r"with TestClient\(app\) as client"):
            http.websocket_connect(path_of(mount)).__enter__()
        http.post("/notes/1")
        assert payload(client) == 1
    with http.websocket_connect(f"{path_of(mount)}?channel=note_update") as client:
        http.post("/notes/2")
        assert payload(client) == 2


def test_health_pages_answer_although_each_request_has_a_loop_of_its_own(realtime: Realtime) -> None:
    http = client_of(application(realtime, "mounted alone"))
    for _ in range(3):
        assert http.get("/live/healthz").text == "ok\n"
        assert http.get("/live/readyz").json()["state"] in ("starting", "live")


@pytest.mark.filterwarnings("ignore")  # a loop that is closed so leaves sockets open
def test_a_loop_that_was_closed_without_an_end_is_followed_by_a_new_node(realtime: Realtime) -> None:
    for _ in range(2):
        loop = asyncio.new_event_loop()
        node = loop.run_until_complete(realtime.start())
        loop.run_until_complete(asyncio.wait_for(node.until_accepting(), 10))
        loop.run_until_complete(realtime.broadcast(note_update, Noted(n=1)))
        assert node.accepting
        loop.close()
        del loop, node

    async def last() -> None:
        node = await realtime.start()
        await asyncio.wait_for(node.until_accepting(), 10)
        assert node.accepting
        await realtime.broadcast(note_update, Noted(n=1))

    asyncio.run(last())
    while gc.collect():  # or a later test would have the warnings; what is found may leave more to find
        pass


def test_each_loop_closes_its_connections_when_it_ends(realtime: Realtime, database: str) -> None:
    async def use() -> None:
        node = await realtime.start()
        await asyncio.wait_for(node.until_accepting(), 10)
        await realtime.broadcast(note_update, Noted(n=1))

    async def others() -> int:
        async with connected(database) as connection:
            count: int = await connection.fetchval(
                "select count(*) from pg_stat_activity where application_name ~ '^flowcraft' and "
                "datname = current_database()"
            )
            return count

    async def until_none() -> None:
        async with asyncio.timeout(10):
            while await others():  # noqa: ASYNC110  # a process of PostgreSQL ends after its connection
                await asyncio.sleep(0.05)

    for _ in range(2):
        asyncio.run(use())
        asyncio.run(until_none())


@pytest.mark.parametrize("turn", [1, 2])
async def test_a_loop_for_each_test_serves_the_application_of_a_module(
    realtime_of_module: Realtime, turn: int
) -> None:
    node = await realtime_of_module.start()
    await asyncio.wait_for(node.until_accepting(), 10)
    await realtime_of_module.broadcast(note_update, Noted(n=turn))
    assert node.report().ready


@pytest.fixture(scope="module")
def realtime_of_module(postgres: Server) -> Iterator[Realtime]:
    with empty_database(postgres) as dsn:
        asyncio.run(migrate(dsn, channels))
        yield Realtime(channels, dsn=dsn, settings=Settings(drain_seconds=0.01))
