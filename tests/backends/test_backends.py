"""Every backend keeps the promise of `ports.Backend`."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.backends.sqlite import SqliteBackend
from flowcraft.adapters.memory import MemoryBackend
from flowcraft.adapters.postgres.backend import PostgresBackend
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.ports import Backend
from flowcraft.testing.contracts import BackendContract
from flowcraft.testing.contracts.service import contract_channels


class TestMemoryBackend(BackendContract):
    @pytest.fixture
    def backend(self) -> Backend:
        return MemoryBackend()


class TestSqliteBackend(BackendContract):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        return SqliteBackend(str(tmp_path / "log.db"))


class TestPostgresBackend(BackendContract):
    @pytest.fixture
    async def backend(self, database: str) -> Backend:
        await migrate(database, contract_channels)
        return PostgresBackend(database)

    async def until_ephemeral(self, backend: Backend) -> None:
        assert isinstance(backend, PostgresBackend)
        await backend.until_listening()
