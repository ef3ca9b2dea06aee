"""Every log keeps the promise of `ports.EventLog`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from examples.backends.sqlite import SqliteLog
from flowcraft.adapters.memory import MemoryLog
from flowcraft.testing.contracts import AppendableLog, EventLogContract, SingleWriterLogContract
from tests.support.postgres import migrated


class TestMemoryLog(EventLogContract):
    @pytest.fixture
    def log(self) -> AppendableLog:
        return MemoryLog()


class TestPostgresLog(EventLogContract):
    @pytest.fixture
    async def log(self, every_database: str) -> AsyncIterator[AppendableLog]:
        async with migrated(every_database) as log:
            yield log


class TestSqliteLog(SingleWriterLogContract):
    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[AppendableLog]:
        log = SqliteLog(str(tmp_path / "log.db"))
        yield log
        log.close()
