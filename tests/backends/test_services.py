"""Every service keeps the promise of `ports.RealtimeService`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from examples.backends.sqlite import SqliteLog, SqliteService
from flowcraft.adapters.memory import MemoryLog, MemoryRealtimeService
from flowcraft.adapters.postgres.service import PostgresRealtimeService
from flowcraft.ports import EventLog, RealtimeService
from flowcraft.testing.contracts import CallerTransaction, RealtimeServiceContract
from flowcraft.testing.contracts.service import BeginCaller
from tests.support.postgres import migrated


class TestMemoryRealtimeService(RealtimeServiceContract):
    @pytest.fixture
    def log(self) -> MemoryLog:
        return MemoryLog()

    @pytest.fixture
    def service(self, log: MemoryLog) -> RealtimeService:
        return MemoryRealtimeService(log)

    @pytest.fixture
    def begin_caller(self, log: MemoryLog) -> BeginCaller:
        async def begin() -> CallerTransaction:
            transaction = log.begin()
            return CallerTransaction(transaction, transaction.commit, transaction.rollback)

        return begin


class TestSqliteService(RealtimeServiceContract):
    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[SqliteLog]:
        log = SqliteLog(str(tmp_path / "log.db"))
        yield log
        log.close()

    @pytest.fixture
    def service(self, log: SqliteLog, tmp_path: Path) -> RealtimeService:
        return SqliteService(str(tmp_path / "log.db"))

    @pytest.fixture
    def begin_caller(self, log: SqliteLog) -> BeginCaller:
        async def begin() -> CallerTransaction:
            transaction = log.begin()
            return CallerTransaction(transaction, transaction.commit, transaction.rollback)

        return begin


class TestPostgresRealtimeService(RealtimeServiceContract):
    @pytest.fixture
    async def log(self, database: str) -> AsyncIterator[EventLog]:
        async with migrated(database) as log:
            yield log

    @pytest.fixture
    async def service(self, database: str) -> AsyncIterator[RealtimeService]:
        service = PostgresRealtimeService(database)
        yield service
        await service.close()

    @pytest.fixture
    async def begin_caller(self, database: str) -> AsyncIterator[BeginCaller]:
        connection = await asyncpg.connect(database)

        async def begin() -> CallerTransaction:
            transaction = connection.transaction()
            await transaction.start()
            return CallerTransaction(connection, transaction.commit, transaction.rollback)

        yield begin
        await connection.close()
