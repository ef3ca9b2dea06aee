"""Edges: they keep the contracts of a log and of wakeups, on nats-server, without and with a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
import pytest

from flowcraft.adapters.memory import MemoryLog, MemoryTransaction
from flowcraft.adapters.nats.backend import NatsBackend
from flowcraft.adapters.nats.edge import EdgeLog
from flowcraft.adapters.nats.edge_stores import EdgeMembers, EdgeRows
from flowcraft.adapters.postgres.backend import PostgresBackend
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.cursors import Cursor
from flowcraft.ports import Backend
from flowcraft.records import Batch, Kind, Limit
from flowcraft.settings import Settings
from flowcraft.testing.contracts import (
    AppendableLog,
    BackendContract,
    EventLogContract,
    MembersContract,
    MembersUnderContract,
    NotesUnderContract,
    Reader,
    RowsContract,
    WakeupsContract,
)
from flowcraft.testing.contracts.members import members_contract_channels
from flowcraft.testing.contracts.rows import Note, rows_contract_channels
from flowcraft.testing.contracts.service import contract_channels
from flowcraft.testing.contracts.wakeups import OpenReader
from tests.support.edges import EdgeParts, address_of, edge, memory_backend, relay


class LogThroughEdge:
    """Writes into the log that a relay reads, and reads what an edge has of it."""

    def __init__(self, written: MemoryLog, read: EdgeLog) -> None:
        self._written = written
        self._read = read

    def begin(self) -> MemoryTransaction:
        return self._written.begin()

    def trim(self, *, before: int) -> None:
        self._written.trim(before=before)

    async def position(self) -> Batch:
        return await self._read.position()

    async def tail(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        return await self._read.tail(after, limit=limit)

    async def replay(self, after: Cursor, channels: Sequence[str], *, limit: Limit | None = None) -> Batch:
        return await self._read.replay(after, channels, limit=limit)

    async def rewound(self, last: Cursor) -> Batch:
        return await self._read.rewound(last)


class TestEdgeLog(EventLogContract):
    @pytest.fixture
    async def log(self, through: str) -> AsyncIterator[AppendableLog]:
        backend = memory_backend()
        url = address_of(through, backend.log.lineage)
        async with relay(url, backend), edge(url) as parts:
            yield LogThroughEdge(backend.log, parts.log)


class TestEdgeWakeups(WakeupsContract):
    @pytest.fixture
    def open_reader(self, through: str) -> OpenReader:
        @asynccontextmanager
        async def opened(safety_seconds: float) -> AsyncIterator[Reader]:
            backend = memory_backend()
            url = address_of(through, backend.log.lineage)
            settings = Settings(safety_poll_seconds=safety_seconds)
            async with relay(url, backend), edge(url, settings=settings) as parts:
                yield Reader(parts.log, parts.edge, LogThroughEdge(backend.log, parts.log))

        return opened


class NotesThroughEdge:
    """Writes notes into the log that a relay reads, and reads them through an edge."""

    def __init__(self, written: MemoryLog, parts: EdgeParts) -> None:
        self._written = written
        self.log = parts.log
        self.rows = EdgeRows(parts.edge)

    async def put(self, note: Note) -> None:
        self._written.broadcast(f"note_rows.{note.book}", msgspec.json.encode(note).decode())

    async def remove(self, note: Note) -> None:
        self._written.broadcast(f"note_rows.{note.book}", f'{{"id":{note.id}}}', kind=Kind.GONE)


class TestEdgeRows(RowsContract):
    @pytest.fixture
    async def notes(self, through: str) -> AsyncIterator[NotesUnderContract]:
        backend, channels = memory_backend(), rows_contract_channels()
        url = address_of(through, backend.log.lineage)
        async with relay(url, backend, channels), edge(url, channels) as parts:
            yield NotesThroughEdge(backend.log, parts)


class MembersThroughEdge:
    """Stores members where a relay stores them, and reads them through an edge."""

    def __init__(self, parts: EdgeParts) -> None:
        self.log = parts.log
        self.rows = EdgeRows(parts.edge)
        self.store = EdgeMembers(parts.edge)


class TestEdgeMembers(MembersContract):
    @pytest.fixture
    async def members(self, through: str) -> AsyncIterator[MembersUnderContract]:
        backend, channels = memory_backend(), members_contract_channels()
        url = address_of(through, backend.log.lineage)
        async with relay(url, backend, channels), edge(url, channels) as parts:
            yield MembersThroughEdge(parts)


class TestNatsBackend(BackendContract):
    """A node that has no address of a database; the relay reads PostgreSQL."""

    @pytest.fixture
    async def backend(
        self, through: str, database: str, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[Backend]:
        monkeypatch.delenv("FLOWCRAFT_DSN", raising=False)
        monkeypatch.delenv("DATABASE_URL", raising=False)
        await migrate(database, contract_channels)
        behind = PostgresBackend(database)
        async with relay(through, behind, contract_channels) as server:
            await behind.until_listening()
            assert server.publisher is not None
            yield NatsBackend(address_of(through, server.publisher.lineage))
