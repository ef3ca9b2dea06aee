"""Every wakeup keeps the promise of `ports.Wakeups`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from examples.backends.sqlite import SqliteLog, SqliteWakeups
from flowcraft.adapters.memory import MemoryLog, MemoryWakeups
from flowcraft.adapters.postgres.listener import PostgresListener
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.channels import Channels
from flowcraft.testing.contracts import Reader, WakeupsContract
from flowcraft.testing.contracts.wakeups import OpenReader
from tests.support.following import listening
from tests.support.postgres import migrated


class TestMemoryWakeups(WakeupsContract):
    @pytest.fixture
    def open_reader(self) -> OpenReader:
        return reader_in_memory


class TestSqliteWakeups(WakeupsContract):
    @pytest.fixture
    def open_reader(self, tmp_path: Path) -> OpenReader:
        return lambda safety_seconds: reader_on_sqlite(str(tmp_path / "log.db"), safety_seconds)


class TestPostgresListener(WakeupsContract):
    @pytest.fixture
    def open_reader(self, database: str) -> OpenReader:
        return lambda safety_seconds: reader_on_postgres(database, safety_seconds)


@asynccontextmanager
async def reader_in_memory(safety_seconds: float) -> AsyncIterator[Reader]:
    log = MemoryLog()
    yield Reader(log, MemoryWakeups(log, safety_seconds=safety_seconds), log)


@asynccontextmanager
async def reader_on_sqlite(path: str, safety_seconds: float) -> AsyncIterator[Reader]:
    log = SqliteLog(path)
    yield Reader(log, SqliteWakeups(log, safety_seconds), log)
    log.close()


@asynccontextmanager
async def reader_on_postgres(dsn: str, safety_seconds: float) -> AsyncIterator[Reader]:
    listener = PostgresListener(dsn, Channels(), lambda _: None, safety_seconds=safety_seconds)
    log = PostgresLog(dsn, on_tail=listener.observe)
    async with migrated(dsn) as writer, listening(listener):
        async with asyncio.timeout(10):
            await listener.until_connected()
        try:
            yield Reader(log, listener, writer)
        finally:
            await log.close()
