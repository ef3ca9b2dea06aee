"""Both logs keep the promise of `ports.EventLog`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from flowcraft.adapters.memory import MemoryLog
from flowcraft.testing.contracts import AppendableLog, EventLogContract
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
