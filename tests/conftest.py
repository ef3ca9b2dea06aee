"""What all tests share: one PostgreSQL server per run, and a fresh database per test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hypothesis
import pytest

from flowcraft.testing.databases import DatabaseServer as Server
from flowcraft.testing.databases import database as empty_database
from flowcraft.testing.databases import database_server

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Server"]

# How long one example takes is the machine's affair, not a property of the code.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """The server of this run: the one `FLOWCRAFT_TEST_DSN` names, or an embedded one, kept in memory."""
    with database_server() as server:
        yield server


@pytest.fixture(scope="session")
def realtime_server(postgres: Server) -> Server:
    """The same for the fixtures that users get."""
    return postgres


@pytest.fixture
def database(postgres: Server) -> Iterator[str]:
    """The address of an empty database of the test's own; about 20 ms."""
    with empty_database(postgres) as dsn:
        yield dsn
