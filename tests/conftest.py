"""What all tests share: one PostgreSQL server per process, a fresh database per test, and their order."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from flowcraft.testing.databases import DatabaseServer as Server
from flowcraft.testing.databases import database as empty_database
from flowcraft.testing.databases import database_server
from tests.support import time_limits
from tests.support.time_limits import limit_of, pytest_runtest_protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Server", "pytest_runtest_protocol"]

HERE = Path(__file__).parent
COMPILERS = ("docs", "frameworks", "package", "scaffolding", "typing")
"""Folders whose tests run compilers, installers and servers of a user's project: 180 s each."""

# How long one example takes is the machine's affair, not a property of the code.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")


def pytest_addoption(parser: pytest.Parser) -> None:
    time_limits.pytest_addoption(parser)
    parser.addoption("--only-database", action="store_true", help="run the tests that use a database")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the tests that may take long first: begun last, they would keep one worker while others idle."""
    for item in items:
        folder = item.path.relative_to(HERE).parts[0] if item.path.is_relative_to(HERE) else ""
        if folder == "world":
            item.add_marker(pytest.mark.world)
        elif folder in COMPILERS and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(180))
    if config.getoption("only_database"):
        items[:] = [item for item in items if "postgres" in getattr(item, "fixturenames", ())]
    items.sort(key=lambda item: -limit_of(item))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their argument: masked frames are random, and workers must agree on the names."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """The server of this process: that of `FLOWCRAFT_TEST_DSN`, or an embedded one, kept in memory."""
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
