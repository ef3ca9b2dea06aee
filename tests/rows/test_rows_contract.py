"""The contract of readers of rows: in memory, on PostgreSQL, and by readers that break it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from flowcraft.adapters.memory import MemoryBackend, MemoryLog, MemoryRows
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.adapters.postgres.table_rows import PostgresRows
from flowcraft.errors import RowsUnsupported
from flowcraft.ports import BackendContext, LogReader, RowsReader
from flowcraft.records import Kind, Limit, TableRows
from flowcraft.runtime.serving import Serving
from flowcraft.settings import Settings
from flowcraft.testing.contracts import NotesUnderContract, RowsContract
from flowcraft.testing.contracts.rows import Note, rows_contract_channels
from tests.support.postgres import connected


class MemoryNotes:
    def __init__(self, wrap: type[Any] | None = None) -> None:
        self.log = MemoryLog()
        rows = MemoryRows(self.log, rows_contract_channels())
        self.rows: RowsReader = rows if wrap is None else wrap(rows)

    async def put(self, note: Note) -> None:
        self.log.broadcast(f"note_rows.{note.book}", msgspec.json.encode(note).decode())

    async def remove(self, note: Note) -> None:
        self.log.broadcast(f"note_rows.{note.book}", f'{{"id":{note.id}}}', kind=Kind.GONE)


class TestMemoryRows(RowsContract):
    @pytest.fixture
    def notes(self) -> NotesUnderContract:
        return MemoryNotes()


class PostgresNotes:
    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.log = PostgresLog(dsn)
        self.rows = PostgresRows(dsn, rows_contract_channels())

    async def put(self, note: Note) -> None:
        await self._execute(
            "insert into notes values ($1, $2, $3) on conflict (id) do update set text = excluded.text",
            *(note.id, note.book, note.text),
        )

    async def remove(self, note: Note) -> None:
        await self._execute("delete from notes where id = $1", note.id)

    async def _execute(self, statement: str, *arguments: object) -> None:
        async with connected(self.dsn) as connection:
            await connection.execute(statement, *arguments)


class TestPostgresRows(RowsContract):
    @pytest.fixture
    async def notes(self, database: str) -> AsyncIterator[NotesUnderContract]:
        async with connected(database) as connection:
            await connection.execute("create table notes (id int primary key, book int, text text not null)")
            await migrate(connection, rows_contract_channels())
        notes = PostgresNotes(database)
        yield notes
        await notes.rows.close()
        await notes.log.close()


class Reads:
    """A reader that breaks a promise: what subclasses make of another's answers."""

    def __init__(self, rows: RowsReader) -> None:
        self.rows = rows
        self.first: TableRows | None = None

    async def read(self, channel: str, limit: Limit) -> TableRows:
        return await self.rows.read(channel, limit)


class OfOneChannel(Reads):
    async def read(self, channel: str, limit: Limit) -> TableRows:
        return await super().read("note_rows.7", limit)


class WithALateCursor(Reads):
    async def read(self, channel: str, limit: Limit) -> TableRows:
        found = await super().read(channel, limit)
        late = found.cursor.snapshot.xmax + 1
        snapshot = replace(found.cursor.snapshot, xmax=late)
        return replace(found, cursor=replace(found.cursor, snapshot=snapshot))


class WithoutLimitOfRows(Reads):
    async def read(self, channel: str, limit: Limit) -> TableRows:
        return await super().read(channel, Limit(10**6, limit.bytes))


class WithoutLimitOfBytes(Reads):
    async def read(self, channel: str, limit: Limit) -> TableRows:
        return await super().read(channel, Limit(limit.events))


BROKEN: dict[str, type[Reads]] = {
    "test_a_state_has_the_rows_of_its_channel_as_they_are": OfOneChannel,
    "test_what_follows_the_cursor_is_what_the_state_lacks": WithALateCursor,
    "test_a_limit_of_rows_is_kept": WithoutLimitOfRows,
    "test_a_limit_of_bytes_is_kept": WithoutLimitOfBytes,
}


@pytest.mark.parametrize("promise", BROKEN)
async def test_a_reader_that_breaks_a_promise_fails_its_test(promise: str) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        await getattr(RowsContract(), promise)(MemoryNotes(BROKEN[promise]))


def test_every_promise_is_broken_by_one() -> None:
    assert {name for name in dir(RowsContract) if name.startswith("test_")} == set(BROKEN)


class WithoutTables(MemoryBackend):
    def open(self, context: BackendContext) -> LogReader:
        return replace(super().open(context), rows=None)


async def test_a_backend_without_tables_refuses_channels_of_rows() -> None:
    with pytest.raises(RowsUnsupported, match="WithoutTables has no tables, whose rows note_rows"):
        Serving(rows_contract_channels(), WithoutTables(), settings=Settings())
