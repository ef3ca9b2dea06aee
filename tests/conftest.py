"""Fixtures of several folders: every installed PostgreSQL, a connection, and an empty current folder."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flowcraft.adapters.postgres.embedded import EmbeddedPostgres, all_binaries
from flowcraft.adapters.postgres.embedded.binaries import ENVIRONMENT_VARIABLE
from flowcraft.testing.databases import DatabaseServer as Server
from tests.support.postgres import connected

if TYPE_CHECKING:
    from tests.support.postgres import Plain

serial = itertools.count(1)
NAMED = os.environ.get("FLOWCRAFT_TEST_DSN") or os.environ.get(ENVIRONMENT_VARIABLE)
BINARIES = () if NAMED else all_binaries()


@pytest.fixture(
    scope="session",
    params=[
        *(pytest.param(b, id=f"postgres{b.major}", marks=pytest.mark.world) for b in BINARIES[1:]),
        pytest.param(None, id="postgres"),
    ],
)
def every_postgres(request: pytest.FixtureRequest, postgres: Server) -> Iterator[Server]:
    """The server of this run, and in `make test-world` one of each other version."""
    if request.param is None:
        yield postgres
        return
    with EmbeddedPostgres.start(binaries=request.param) as server:
        yield server


@pytest.fixture
def every_database(every_postgres: Server) -> Iterator[str]:
    """The address of an empty database of the test's own, on each version."""
    name = f"every_{os.getpid()}_{next(serial)}"
    yield every_postgres.create_database(name)
    every_postgres.drop_database(name)


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Plain]:
    """A connection to the test's own database."""
    async with connected(database) as connection:
        yield connection


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, where no database is known."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLOWCRAFT_DSN", raising=False)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return tmp_path
