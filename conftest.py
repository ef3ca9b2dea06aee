"""What all tests share, here and beside the examples: a PostgreSQL, a database per test, their order."""

from __future__ import annotations

import asyncio
import inspect
import socket
import subprocess
import threading
from pathlib import Path
from types import ModuleType
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

__all__ = ["pytest_runtest_protocol"]

TESTS = Path(__file__).parent / "tests"
COMPILERS = ("docs", "frameworks", "package", "scaffolding", "typing")
"""Folders whose tests run compilers, installers and servers of a user's project: 180 s each."""
WAITING = (asyncio, socket, subprocess, threading)
"""A file of tests that imports none of these does no I/O: its tests are `pure`."""

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
        folder = item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else ""
        if folder == "world":
            item.add_marker(pytest.mark.world)
        elif folder in COMPILERS and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(180))
        if is_pure(item):
            item.add_marker(pytest.mark.pure)
    if config.getoption("only_database"):
        items[:] = [item for item in items if uses_database(item)]
    items.sort(key=lambda item: -limit_of(item))


def is_pure(item: pytest.Item) -> bool:
    """Return whether a test does no I/O: no coroutine, no database, no files, no module to wait with."""
    if not isinstance(item, pytest.Function) or inspect.iscoroutinefunction(item.obj):
        return False
    if not {"postgres", "tmp_path", "tmp_path_factory"}.isdisjoint(item.fixturenames):
        return False
    imported = (value for value in vars(item.module).values() if isinstance(value, ModuleType))
    return not any(module in WAITING for module in imported)


def uses_database(item: pytest.Item) -> bool:
    """Return whether a test has a database, of its own or through another fixture."""
    return "postgres" in getattr(item, "fixturenames", ())


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
