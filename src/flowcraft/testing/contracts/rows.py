"""RowsContract: the guarantees of a reader of rows."""

from __future__ import annotations

from typing import Protocol

import msgspec
import pytest

from flowcraft.channels import Channels
from flowcraft.errors import RowsLimitExceeded
from flowcraft.events import Event
from flowcraft.ports import EventLog, RowsReader
from flowcraft.records import Kind, Limit, Record

_MOST = Limit(100, 10**6)


class Note(Event):
    """A row of the contract: of the table `notes` with these columns, whose primary key is `id`."""

    id: int
    book: int
    text: str


def rows_contract_channels() -> Channels:
    """Return the channels of the contract, for a fresh backend."""
    channels = Channels()
    channels.rows("note_rows.{book}", Note, table="notes", key="id", params={"book": int})
    return channels


class NotesUnderContract(Protocol):
    """A table of notes, empty at first, with the log and the reader that the contract tests."""

    @property
    def log(self) -> EventLog: ...
    @property
    def rows(self) -> RowsReader: ...

    async def put(self, note: Note) -> None:
        """Insert a note, or replace the one with its id in the same book, in a transaction of its own."""
        ...

    async def remove(self, note: Note) -> None:
        """Delete a note, in a transaction of its own."""
        ...


class RowsContract:
    """The guarantees of `ports.RowsReader`. Override the fixture."""

    @pytest.fixture
    def notes(self) -> NotesUnderContract:
        raise NotImplementedError("override this fixture: return a NotesUnderContract")

    async def test_a_state_has_the_rows_of_its_channel_as_they_are(self, notes: NotesUnderContract) -> None:
        for note in (_note(1), _note(2), _note(3, book=8), _note(1, text="again")):
            await notes.put(note)
        await notes.remove(_note(2))
        assert await _texts(notes, 7) == {1: "again"}
        assert await _texts(notes, 8) == {3: "3"}
        assert await _texts(notes, 9) == {}

    async def test_what_follows_the_cursor_is_what_the_state_lacks(self, notes: NotesUnderContract) -> None:
        await notes.put(_note(1))
        found = await notes.rows.read("note_rows.7", _MOST)
        await notes.put(_note(2))
        await notes.remove(_note(1))
        following = [*(await notes.log.tail(found.cursor)).records]
        assert [_id_of(row) for row in found.rows] == [1]
        assert [(record.kind, _id_of(record.payload)) for record in _of(following)] == [
            (Kind.EVENT, 2),
            (Kind.GONE, 1),
        ]

    async def test_a_limit_of_rows_is_kept(self, notes: NotesUnderContract) -> None:
        for number in (1, 2, 3):
            await notes.put(_note(number))
        assert len((await notes.rows.read("note_rows.7", Limit(3, 10**6))).rows) == 3
        with pytest.raises(RowsLimitExceeded) as refused:
            await notes.rows.read("note_rows.7", Limit(2, 10**6))
        assert refused.value.limit == "rows_per_channel"

    async def test_a_limit_of_bytes_is_kept(self, notes: NotesUnderContract) -> None:
        await notes.put(_note(1, text="x" * 1000))
        assert len((await notes.rows.read("note_rows.7", Limit(3, 2000))).rows) == 1
        with pytest.raises(RowsLimitExceeded) as refused:
            await notes.rows.read("note_rows.7", Limit(3, 1000))
        assert refused.value.limit == "rows_bytes"


def _note(number: int, *, book: int = 7, text: str | None = None) -> Note:
    return Note(id=number, book=book, text=str(number) if text is None else text)


async def _texts(notes: NotesUnderContract, book: int) -> dict[int, str]:
    found = await notes.rows.read(f"note_rows.{book}", _MOST)
    rows = [msgspec.json.decode(row, type=Note) for row in found.rows]
    assert len({row.id for row in rows}) == len(rows)
    return {row.id: row.text for row in rows}


def _of(records: list[Record]) -> list[Record]:
    return [record for record in records if record.channel == "note_rows.7"]


def _id_of(payload: str) -> int:
    return int(msgspec.json.decode(payload)["id"])
