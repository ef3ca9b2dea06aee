"""Tracing: the trace of whoever states an event goes on in the server that delivers it."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import asyncpg
import psycopg
import pytest
from msgspec import structs
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from sqlalchemy.ext.asyncio import create_async_engine

from flowcraft import Channels, Event, Realtime, Table, migrate
from flowcraft.adapters.memory import MemoryLog, MemoryWakeups
from flowcraft.adapters.opentelemetry import OpenTelemetryTracer, find_tracer
from flowcraft.adapters.postgres.service import PostgresRealtimeService
from flowcraft.cursors import Cursor
from flowcraft.ports import Tracer
from flowcraft.records import Batch, Limit, Record
from flowcraft.runtime.clock import SystemClock
from flowcraft.runtime.node import Node
from flowcraft.settings import Settings
from tests.node.test_node import Recorder
from tests.support.postgres import connected

if TYPE_CHECKING:
    from tests.support.postgres import Plain


class Counted(Event):
    """Something."""

    n: int


class ItemUpdate(Event):
    """A row of `items`."""

    item_id: int


channels = Channels()
run = channels.declare("runs.{run_id}", Counted, params={"run_id": int})
channels.declare("item_update", ItemUpdate, source=Table("items", item_id="id"))
QUICK = Settings(drain_seconds=0.01)
publisher = trace.get_tracer("the application")


@pytest.fixture(scope="module")
def provider() -> TracerProvider:
    """The provider of this process: there is one, and it cannot be replaced."""
    present = trace.get_tracer_provider()
    if not isinstance(present, TracerProvider):
        present = TracerProvider()
        trace.set_tracer_provider(present)
    return present


@pytest.fixture
def spans(provider: TracerProvider) -> Iterator[Callable[[], list[ReadableSpan]]]:
    """What was delivered, by the spans that tell of it."""
    exporter = InMemorySpanExporter()
    processor = SimpleSpanProcessor(exporter)
    provider.add_span_processor(processor)
    yield lambda: [s for s in exporter.get_finished_spans() if s.kind is SpanKind.CONSUMER]
    processor.shutdown()


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Plain]:
    async with connected(database) as connection:
        await connection.execute("create table items (id int primary key)")
        await migrate(connection, channels)
        yield connection


@asynccontextmanager
async def following(dsn: str, name: str, clients: int = 1) -> AsyncIterator[tuple[Realtime, list[Recorder]]]:
    """An application on the database, and clients that follow one of its channels."""
    async with Realtime(channels, dsn=dsn, settings=QUICK) as realtime:
        node = await realtime.start()
        await node.until_accepting()
        recorders = [Recorder() for _ in range(clients)]
        for recorder in recorders:
            node.connect(recorder, [name])
        yield realtime, recorders


async def by_asyncpg(dsn: str, realtime: Realtime) -> None:
    connection = await asyncpg.connect(dsn)
    async with connection.transaction():
        await realtime.broadcast(run(1), Counted(n=1), via=connection)
    await connection.close()


async def by_psycopg(dsn: str, realtime: Realtime) -> None:
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        await realtime.broadcast(run(1), Counted(n=1), via=connection)


async def by_sqlalchemy(dsn: str, realtime: Realtime) -> None:
    engine = create_async_engine(dsn.replace("postgresql:", "postgresql+asyncpg:"))
    async with engine.begin() as connection:
        await realtime.broadcast(run(1), Counted(n=1), via=connection)
    await engine.dispose()


async def by_itself(dsn: str, realtime: Realtime) -> None:
    await realtime.broadcast(run(1), Counted(n=1))


@pytest.mark.parametrize("broadcast", [by_itself, by_asyncpg, by_psycopg, by_sqlalchemy])
async def test_a_delivery_is_one_span_of_the_publishers_trace_however_many_clients_get_it(
    connection: Plain,
    database: str,
    spans: Callable[[], list[ReadableSpan]],
    broadcast: Callable[[str, Realtime], Awaitable[None]],
) -> None:
    async with following(database, "runs.1", clients=3) as (realtime, clients):
        with publisher.start_as_current_span("start a run") as span:
            await broadcast(database, realtime)
        frames = [await client.until("channel") for client in clients]
    (delivery,) = spans()
    origin = span.get_span_context()
    assert [link.context.span_id for link in delivery.links] == [origin.span_id]
    assert delivery.parent is not None
    assert (delivery.parent.span_id, delivery.parent.trace_id) == (origin.span_id, origin.trace_id)
    assert (delivery.name, (delivery.attributes or {})["flowcraft.recipients"]) == (
        "deliver runs.{run_id}",
        3,
    )
    assert "Counted" not in delivery.to_json()
    # For the clients nothing has changed.
    assert all(frame.keys() == {"channel", "payload", "id"} for frame in frames)


async def test_a_row_carries_the_trace_that_its_transaction_names(
    connection: Plain, database: str, spans: Callable[[], list[ReadableSpan]]
) -> None:
    async with following(database, "item_update") as (_, [client]):
        with publisher.start_as_current_span("store an item") as span:
            carrier: dict[str, str] = {}
            TraceContextTextMapPropagator().inject(carrier)
            async with connection.transaction():
                name = "select set_config('flowcraft.traceparent', $1, true)"
                await connection.execute(name, carrier["traceparent"])
                await connection.execute("insert into items values (1)")
        await client.until("channel")
        await connection.execute("insert into items values (2)")  # in the same session, of no trace
        await client.until("channel")
        await client.until("cursor")
    (delivery,) = spans()
    assert [link.context.span_id for link in delivery.links] == [span.get_span_context().span_id]


async def test_what_is_not_recorded_where_it_is_stated_is_not_recorded_where_it_is_delivered(
    connection: Plain, database: str, spans: Callable[[], list[ReadableSpan]]
) -> None:
    async with following(database, "runs.1") as (realtime, [client]):
        await realtime.broadcast(run(1), Counted(n=1))  # outside of any span
        unrecorded = trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=False))
        with trace.use_span(unrecorded):
            await realtime.broadcast(run(1), Counted(n=2))
        for _ in range(2):
            await client.until("channel")
    assert await connection.fetch("select trace from flowcraft.event where trace <> ''") == []
    assert spans() == []


async def test_the_trace_of_a_transaction_ends_with_it(connection: Plain, database: str) -> None:
    service = PostgresRealtimeService(database, OpenTelemetryTracer())
    with publisher.start_as_current_span("start a run"):
        async with connection.transaction():
            await service.broadcast(run(1), Counted(n=1), via=connection)
    async with connection.transaction():
        await service.broadcast(run(1), Counted(n=2), via=connection)
    traced = await connection.fetch("select payload from flowcraft.event where trace <> ''")
    assert [json.loads(row["payload"])["n"] for row in traced] == [1]


class ForgedLog(MemoryLog):
    """A log to which somebody wrote what he liked as the trace."""

    def __init__(self, *traces: str) -> None:
        super().__init__()
        self._traces = iter(traces)

    def _forge(self, record: Record) -> Record:
        return structs.replace(record, trace=next(self._traces))

    async def tail(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        batch = await super().tail(after, limit=limit)
        return replace(batch, records=tuple(map(self._forge, batch.records)))


async def test_a_forged_trace_is_not_followed_and_holds_nothing_up(
    spans: Callable[[], list[ReadableSpan]],
) -> None:
    forged = (
        "nonsense",
        f"00-{'0' * 32}-{'0' * 16}-01",
        "00-" + "ab" * 500,
        f"00-{'ab' * 16}-{'cd' * 8}-01x",
    )
    await deliver_all(ForgedLog(*forged), OpenTelemetryTracer(), len(forged))
    assert spans() == []


class FailingTracer(OpenTelemetryTracer):
    """A tracer whose tracing system is broken."""

    def delivered(self, record: Record, family: str, recipients: int, seconds: float) -> None:
        raise OSError("the collector went to lunch")


async def test_a_tracing_system_that_fails_holds_nothing_up(caplog: pytest.LogCaptureFixture) -> None:
    await deliver_all(ForgedLog("00-1", "00-2"), FailingTracer(), 2)
    assert [r.getMessage() for r in caplog.records] == [
        f"telemetry: tracing event {n} on runs.1 failed (OSError: the collector went to lunch); "
        f"others are not affected; {n} failures so far"
        for n in (1, 2)
    ]


async def deliver_all(log: MemoryLog, tracer: Tracer, count: int) -> None:
    """Have a client hear so many events, one after another."""
    client = Recorder()
    node = Node(
        channels,
        log,
        MemoryWakeups(log),
        settings=QUICK,
        authorizer=None,
        clock=SystemClock(),
        tracer=tracer,
    )
    node.start()
    await node.until_accepting()
    node.connect(client, ["runs.1"])
    for n in range(count):
        log.broadcast("runs.1", str(n))
        assert (await client.until("channel"))["payload"] == n
    await node.stop()


def test_without_opentelemetry_there_is_no_tracer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_tracer() is not None
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    assert find_tracer() is None


async def test_without_a_tracer_an_event_is_stored_as_it_ever_was(connection: Plain, database: str) -> None:
    service = PostgresRealtimeService(database)
    with publisher.start_as_current_span("start a run"):
        await service.broadcast(run(1), Counted(n=1))
    await service.close()
    (row,) = await connection.fetch("select channel, payload, trace from flowcraft.event")
    assert tuple(row) == ("runs.1", json.dumps({"type": "Counted", "n": 1}, separators=(",", ":")), None)
