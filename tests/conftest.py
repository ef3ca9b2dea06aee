"""What all tests share: one PostgreSQL server per run, and a fresh database per test."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

import asyncpg
import hypothesis
import pytest

from flowcraft.adapters.postgres.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Iterator

serial = itertools.count(1)
# How long one example takes is the machine's affair, not a property of the code.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")


class Server(Protocol):
    """A PostgreSQL server that tests may make databases in."""

    @property
    def dsn(self) -> str: ...
    def create_database(self, name: str) -> str: ...
    def drop_database(self, name: str) -> None: ...


class GivenServer:
    """The server that `FLOWCRAFT_TEST_DSN` names, whose role may create databases."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    def create_database(self, name: str) -> str:
        self._execute(f'create database "{name}" template template0')
        return re.sub(r"^(\w+://[^/?]*)(/[^?]*)?", rf"\1/{name}", self.dsn)

    def drop_database(self, name: str) -> None:
        self._execute(f'drop database if exists "{name}" with (force)')

    def _execute(self, sql: str) -> None:
        async def execute() -> None:
            connection = await asyncpg.connect(self.dsn)
            try:
                await connection.execute(sql)
            finally:
                await connection.close()

        # In a thread of its own: the test's thread may have a loop.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, execute()).result()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """The server of this run: the one `FLOWCRAFT_TEST_DSN` names, or an embedded one, kept in memory."""
    if dsn := os.environ.get("FLOWCRAFT_TEST_DSN"):
        yield GivenServer(dsn)
        return
    with EmbeddedPostgres.start() as server:
        yield server


@pytest.fixture
def database(postgres: Server) -> Iterator[str]:
    """The address of an empty database of the test's own; about 20 ms."""
    name = f"test_{os.getpid()}_{next(serial)}"
    yield postgres.create_database(name)
    postgres.drop_database(name)
