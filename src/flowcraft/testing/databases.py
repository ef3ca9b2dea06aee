"""Databases for tests, one per test: on the server that `FLOWCRAFT_TEST_DSN` names, or an embedded one."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from typing import Protocol

import asyncpg

from flowcraft.adapters.postgres.embedded import EmbeddedPostgres

VARIABLE = "FLOWCRAFT_TEST_DSN"
_serial = count(1)


class DatabaseServer(Protocol):
    """A PostgreSQL server that can create databases."""

    @property
    def dsn(self) -> str: ...
    def create_database(self, name: str) -> str: ...
    def drop_database(self, name: str) -> None: ...


class _GivenServer:
    """A server whose role may create databases."""

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

        # In another thread: the test's thread may run an event loop.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, execute()).result()


@contextmanager
def database_server() -> Iterator[DatabaseServer]:
    """Yield the server of a test run.

    Raises:
        BinariesNotFound: `FLOWCRAFT_TEST_DSN` is not set, and PostgreSQL is not installed.
    """
    if dsn := os.environ.get(VARIABLE):
        yield _GivenServer(dsn)
        return
    with EmbeddedPostgres.start() as server:
        yield server


@contextmanager
def database(server: DatabaseServer) -> Iterator[str]:
    """Yield the address of an empty database."""
    name = f"flowcraft_test_{os.getpid()}_{next(_serial)}"
    yield server.create_database(name)
    server.drop_database(name)
