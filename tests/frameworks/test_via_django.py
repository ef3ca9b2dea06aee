"""Broadcasts travel in a transaction of Django, wherever its views are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection, connections, transaction

from flowcraft import Channels, Event, Realtime
from flowcraft.adapters.postgres.schema import migration_sql
from tests.support.django_project import configure, connected_in_its_thread, connected_to

configure()


class Sold(Event):
    item_id: int


channels = Channels()
sold = channels.declare("sold_update", Sold)
realtime = Realtime(channels, dsn="postgresql://nobody@127.0.0.1:1/nowhere")
VIAS: dict[str, Callable[[], object]] = {
    "django.db.connection": lambda: connection,
    "connections[alias]": lambda: connections["default"],
    "alias": lambda: "default",
}


class Refused(Exception):
    """The view changes its mind."""


@contextmanager
def refused() -> Iterator[None]:
    """A transaction that is rolled back."""
    with suppress(Refused), transaction.atomic():
        yield
        raise Refused


@pytest.fixture
def log(database: str) -> str:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(migration_sql(channels).encode())
    return database


@pytest.fixture
def project(log: str) -> Iterator[str]:
    with connected_to(log):
        yield log


@pytest.fixture
async def async_project(log: str) -> AsyncIterator[str]:
    async with connected_in_its_thread(log):
        yield log


def told(dsn: str) -> list[object]:
    with psycopg.connect(dsn) as connection:
        return [
            row[0]
            for row in connection.execute(
                "select payload::json -> 'item_id' from flowcraft.event order by id"
            )
        ]


@pytest.mark.parametrize("via", VIAS)
def test_a_broadcast_of_a_view_shares_the_fate_of_its_transaction(project: str, via: str) -> None:
    with transaction.atomic():
        realtime.broadcast_sync(sold, Sold(item_id=1), via=VIAS[via]())
        assert told(project) == []
    assert told(project) == [1]
    with refused():
        realtime.broadcast_sync(sold, Sold(item_id=2), via=VIAS[via]())
    assert told(project) == [1]


def test_what_a_savepoint_takes_back_is_not_told(project: str) -> None:
    with transaction.atomic():
        realtime.broadcast_sync(sold, Sold(item_id=1), via=connection)
        with refused():
            realtime.broadcast_sync(sold, Sold(item_id=2), via=connection)
    assert told(project) == [1]


async def test_an_asynchronous_view_calls_a_function_with_the_transaction(async_project: str) -> None:
    @sync_to_async
    def sell(item_id: int, *, refuse: bool = False) -> None:
        with transaction.atomic():
            realtime.broadcast_sync(sold, Sold(item_id=item_id), via=connection)
            if refuse:
                raise Refused

    await sell(1)
    with pytest.raises(Refused):
        await sell(2, refuse=True)
    assert told(async_project) == [1]


@pytest.mark.parametrize("via", ["django.db.connection", "alias"])
def test_a_view_may_call_an_asynchronous_service_inside_its_transaction(project: str, via: str) -> None:
    async def service(item_id: int) -> None:
        await realtime.broadcast(sold, Sold(item_id=item_id), via=VIAS[via]())

    with transaction.atomic():
        async_to_sync(service)(1)
        assert told(project) == []
    with refused():
        async_to_sync(service)(2)
    assert told(project) == [1]


def test_outside_of_a_transaction_it_is_refused_with_a_sentence(project: str) -> None:
    with pytest.raises(
        TypeError, match=r"connection 'default' of Django has no transaction.*transaction\.atomic\(\)"
    ):
        realtime.broadcast_sync(sold, Sold(item_id=1), via=connection)
    assert told(project) == []


async def test_a_coroutine_that_has_no_transaction_of_django_is_told_so(async_project: str) -> None:
    with pytest.raises(TypeError, match="in a function that async code calls by sync_to_async"):
        await realtime.broadcast(sold, Sold(item_id=1), via=connection)
    assert told(async_project) == []
