"""Rows: the events that a row becomes on the channels with its table as their source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import asyncpg

from flowcraft.adapters.postgres.schema import migrate
from flowcraft.adapters.postgres.triggers import quoted
from flowcraft.channels import Channels
from flowcraft.declarations import Declaration, Rows, Table
from flowcraft.records import Kind, Record

if TYPE_CHECKING:
    Plain = asyncpg.Connection[asyncpg.Record]

_CONSTRAINTS = """
select format('alter table %s drop constraint %I', conrelid::regclass, conname) from pg_constraint
where conrelid = to_regclass($1) and contype in ('c', 'f')
"""
_EVENTS = "select id, xid::text::bigint as xid, channel, payload, kind::text from flowcraft.event order by id"


async def records_of_row(
    dsn: str, channels: Channels, tables: Path | str, table: str, row: Mapping[str, object]
) -> list[Record]:
    """Insert a row, given as JSON, and return the records that its trigger wrote, on all channels.

    The database must be empty and used by this test only. `tables` creates the tables, as SQL or as a folder
    of SQL files; then foreign keys and checks of this table are dropped, so that any row can be inserted.
    """
    connection = await asyncpg.connect(dsn)
    try:
        for script in [tables] if isinstance(tables, str) else _texts(tables):
            await connection.execute(script)
        await migrate(connection, _of_table(channels, table))
        await connection.execute("truncate flowcraft.event")
        await _insert(connection, table, row)
        return [
            Record(row["xid"], row["id"], row["channel"], row["payload"], kind=Kind(row["kind"]))
            for row in await connection.fetch(_EVENTS)
        ]
    finally:
        await connection.close()


def _of_table(channels: Channels, table: str) -> Channels:
    """Return the channels of this table, without their other sources, whose tables may not exist."""
    found = Channels()
    for declaration in channels:
        sources = [s for s in declaration.sources if isinstance(s, Table) and s.name == table]
        parameter = declaration.parameter
        source = declaration.rows
        if source is not None and source.name == table:
            _declare_rows(found, declaration, source)
        elif sources:
            payload: Any = Union[declaration.payload.members]  # noqa: UP007  # a tuple of them
            params: Any = {parameter.name: parameter.type} if parameter else None
            found.declare(declaration.name, payload, source=sources, params=params)
    return found


def _declare_rows(channels: Channels, declaration: Declaration, source: Rows) -> None:
    parameter = declaration.parameter
    params: Any = {parameter.name: parameter.type} if parameter else None
    channels.rows(
        declaration.name,
        declaration.payload.members[0],
        table=source.name,
        key=source.key,
        params=params,
        where=source.where,
        columns=source.columns,
    )


def _texts(folder: Path) -> list[str]:
    return [file.read_text("utf-8") for file in sorted(folder.glob("*.sql"))]


async def _insert(connection: Plain, table: str, row: Mapping[str, object]) -> None:
    for constraint in await connection.fetch(_CONSTRAINTS, quoted(table)):
        await connection.execute(constraint[0])
    names = ", ".join(quoted(f'"{name}"') for name in row)
    await connection.execute(
        f"insert into {quoted(table)} ({names}) overriding system value "  # noqa: S608  # checked identifiers
        f"select {names} from json_populate_record(null::{quoted(table)}, $1)",
        json.dumps(row),
    )
