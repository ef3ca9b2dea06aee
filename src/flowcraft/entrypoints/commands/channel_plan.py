"""The plan of `flowcraft channel add`: from options to edits, by reading the database and the application."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from keyword import iskeyword
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from flowcraft.adapters.postgres.address import DSN_VARIABLES, NoDatabase, find_dsn
from flowcraft.adapters.postgres.source_snapshots import frozen
from flowcraft.adapters.postgres.table_facts import (
    TableColumn,
    columns_of,
    inspected,
    primary_key_of,
    scratch,
    trigger_text,
)
from flowcraft.entrypoints.commands import preview as previews
from flowcraft.entrypoints.commands.formatting import formatted, formatted_edit
from flowcraft.entrypoints.commands.importing import read_env_file, working_folder
from flowcraft.entrypoints.commands.target import realtime_here
from flowcraft.entrypoints.realtime import NotOnPostgres
from flowcraft.scaffolding.edits import Edit, ScaffoldingRefused, text_of
from flowcraft.scaffolding.migrations import trigger_statements
from flowcraft.scaffolding.naming import Names
from flowcraft.scaffolding.plan import Draft, plan_declaration, plan_rest
from flowcraft.scaffolding.python_text import fields_of, parsed
from flowcraft.scaffolding.request import ChannelRequest, Field, Preview, Project, RequestedTable, Sample
from flowcraft.scaffolding.samples import sample_of_column
from flowcraft.scaffolding.types import is_known, type_of_column

if TYPE_CHECKING:
    from flowcraft.adapters.postgres.connections import Plain

_LINE = ",\n"
_PARAMETERS = {"uuid": "UUID", "int2": "int", "int4": "int", "int8": "int"}


@dataclass(frozen=True, slots=True)
class ChannelOptions:
    """The options of `flowcraft channel add`; `columns` has each chosen field's column, None means all."""

    names: Names
    event: str
    feature: str
    fields: tuple[Field, ...] = ()
    columns: Mapping[str, str] | None = None
    on: tuple[str, ...] = ("insert", "update")
    key: tuple[str, ...] = ()
    """Of rows: the fields of the key; the primary key if there are none."""


@dataclass(frozen=True, slots=True)
class ChannelPlan:
    """The edits that add a channel, and who may subscribe to it."""

    edits: list[Edit]
    viewers: str


@asynccontextmanager
async def database(project: Project, dsn: str | None) -> AsyncIterator[Plain]:
    """Yield a connection to a database with the project's tables: the configured one, or a scratch one.

    Raises:
        ScaffoldingRefused: no database is configured, and the project has no SQL migrations to create one.
    """
    read_env_file(Path.cwd(), DSN_VARIABLES, project.root)
    try:
        known = find_dsn(dsn)
    except NoDatabase:
        known = None
    if known is not None:
        async with inspected(known) as connection:
            yield connection
    elif project.migrations is not None:
        async with scratch(sorted(project.migrations.glob("*.sql"))) as made, inspected(made) as connection:
            yield connection
    elif (address := _address_in_the_code()) is not None:
        async with inspected(address) as connection:
            yield connection
    else:
        raise ScaffoldingRefused("no database to read the columns from; name one with --dsn")


def _address_in_the_code() -> str | None:
    """Return the address of the project's Realtime object; None without one."""
    realtime = realtime_here(None)
    try:
        return None if realtime is None else realtime.dsn
    except (NoDatabase, NotOnPostgres):
        return None


def edits_for_service(options: ChannelOptions, project: Project, service: str) -> ChannelPlan:
    """Plan an API-driven channel.

    Raises:
        ScaffoldingRefused: the project or the options do not allow this channel.
    """
    fields = options.fields
    parameter = options.names.parameter
    kind = next((f.annotation for f in fields if f.name == parameter), "UUID")
    declared_fields = fields_of(parsed(text_of(project.events) or "", project.events), options.event)
    if parameter is not None and declared_fields is None and parameter not in [f.name for f in fields]:
        fields = (Field(parameter, "UUID"), *fields)
    if declared_fields is not None and parameter is not None:
        kind = next((f.annotation for f in declared_fields if f.name == parameter), kind)
    request = ChannelRequest(options.names, options.event, fields, options.feature, None, service, kind)
    draft, declared = plan_declaration(request, project, formatted)
    result = _preview(draft, request, project)
    plan_rest(
        draft, request, project, Preview(result.typescript, result.samples, result.tag), declared=declared
    )
    return ChannelPlan([formatted_edit(edit) for edit in draft.edits.values()], result.viewers)


async def edits_for_table(
    options: ChannelOptions, project: Project, connection: Plain, table: str
) -> ChannelPlan:
    """Plan a database-driven channel.

    Raises:
        ScaffoldingRefused: the project, the options or the table do not allow this channel.
        DatabaseUnreadable: the table does not exist.
    """
    columns = await columns_of(connection, table)
    primary = await primary_key_of(connection, table)
    declared_fields = fields_of(parsed(text_of(project.events) or "", project.events), options.event)
    column_of = _columns_by_field(
        options,
        [column.name for column in columns],
        primary,
        [field.name for field in declared_fields] if declared_fields is not None else None,
        table,
    )
    key = await _key(options, connection, column_of, table) if options.names.are_rows else ()
    request = _table_request(options, columns, column_of, table, key, new=declared_fields is None)
    draft, declared = plan_declaration(request, project, formatted)
    result = _preview(draft, request, project)
    assert result.source is not None
    samples = _samples(result.samples, columns, column_of)
    trigger = await trigger_text(connection, result.source)
    row = _row(columns, column_of, {sample.name: sample.json for sample in samples})
    known = [column_of[name] for name in key] or [name for name in primary if set(primary) <= row.keys()]
    preview = Preview(
        result.typescript,
        samples,
        result.tag,
        trigger_statements(trigger),
        frozen(result.source),
        row,
        _table_like(table, columns, known),
    )
    plan_rest(draft, request, project, preview, declared=declared)
    return ChannelPlan([formatted_edit(edit) for edit in draft.edits.values()], result.viewers)


def field_of_column(names: Names, column: str, columns: Collection[str]) -> str:
    """Return the event's field for a column: the same name, but `flow_id` for the column `id` of a flow.

    `columns` are all of the table: a parameter that is one of them is not its `id`.
    """
    if column == "id" and names.are_rows:
        return column
    if (
        column == "id"
        and names.names_a_row
        and names.parameter is not None
        and names.parameter not in columns
    ):
        return names.parameter
    if column in ("id", "type") or iskeyword(column):
        return f"{names.one}_{column}"
    return column


async def _key(
    options: ChannelOptions, connection: Plain, column_of: Mapping[str, str], table: str
) -> tuple[str, ...]:
    """Return the fields by which a row is known: those that were named, or those of the primary key."""
    field_of = {column: field for field, column in column_of.items()}
    found = [field_of.get(column) for column in await primary_key_of(connection, table)]
    key = options.key or tuple([field for field in found if field is not None])
    if not key or (not options.key and None in found):
        raise ScaffoldingRefused(
            f"{table} has no primary key among the fields of {options.event}; name its key with --key FIELD"
        )
    for field in key:
        if field not in column_of:
            raise ScaffoldingRefused(f"--key {field}: {options.event} has no such field")
    return key


def _columns_by_field(
    options: ChannelOptions,
    present: Sequence[str],
    key: Sequence[str],
    fields: Sequence[str] | None,
    table: str,
) -> dict[str, str]:
    """Return the column of each field of the event: those that were chosen, and always the primary key."""
    by_default = {field_of_column(options.names, name, present): name for name in present}
    chosen = dict(options.columns or {})
    if fields is not None:
        by_default.setdefault(f"{table.rpartition('.')[2].removesuffix('s')}_id", "id")
        chosen = {f: chosen.get(f) or (f if f in present else by_default.get(f, f)) for f in fields}
    elif not chosen:
        chosen = by_default
    else:
        missing = {field: name for field, name in by_default.items() if name in key}
        chosen = {f: name for f, name in missing.items() if name not in chosen.values()} | chosen
    parameter = options.names.parameter
    if parameter is not None and fields is None and parameter not in chosen:
        chosen = {parameter: by_default.get(parameter, parameter), **chosen}
    for field, column in chosen.items():
        if column not in present:
            raise ScaffoldingRefused(
                f"{options.event}.{field}: table {table} has no column {column}, only {', '.join(present)}; "
                f"name the column with --column {field}=COLUMN"
            )
    return chosen


def _table_request(
    options: ChannelOptions,
    columns: Sequence[TableColumn],
    column_of: Mapping[str, str],
    table: str,
    key: tuple[str, ...],
    *,
    new: bool,
) -> ChannelRequest:
    by_name = {column.name: column for column in columns}
    given = {field.name: field for field in options.fields}
    if unknown := given.keys() - column_of.keys():
        raise ScaffoldingRefused(
            f"--field {min(unknown)}: no column has this name; name the column with "
            f"--column {min(unknown)}=COLUMN"
        )
    fields = tuple(given.get(f) or Field(f, annotation_of(by_name[c])) for f, c in column_of.items())
    parameter = options.names.parameter
    kind = _PARAMETERS.get(by_name[column_of[parameter]].type, "str") if parameter is not None else "UUID"
    renamed = {field: column for field, column in column_of.items() if field != column}
    return ChannelRequest(
        options.names,
        options.event,
        fields if new else options.fields,
        options.feature,
        RequestedTable(table, renamed, options.on, key),
        None,
        kind,
    )


def annotation_of(column: TableColumn) -> str:
    """Return the Python annotation of a column's values."""
    return type_of_column(column.type, column.labels, is_array=column.is_array, required=column.required)


def _preview(draft: Draft, request: ChannelRequest, project: Project) -> previews.PreviewResult:
    """Import the application in another process, with the edits of the draft applied."""
    preview_request = previews.PreviewRequest(
        str(project.root),
        project.module(project.channels),
        project.channels_object,
        request.names.channel,
        request.event,
        {str(path): edit.after for path, edit in draft.edits.items()},
    )
    done = subprocess.run(  # noqa: S603  # this very interpreter
        [sys.executable, "-m", previews.__name__],
        input=msgspec.json.encode(preview_request),
        capture_output=True,
        check=False,
        cwd=working_folder(project.root, Path.cwd()),
    )
    if done.returncode != 0:
        raise ScaffoldingRefused(
            f"importing {preview_request.module} ended the process:\n{done.stderr.decode()}"
        )
    result = msgspec.json.decode(done.stdout, type=previews.PreviewResult)
    if result.error is not None:
        raise ScaffoldingRefused(f"{result.error}\nnothing was changed")
    return result


def _samples(
    samples: Sequence[Sample], columns: Sequence[TableColumn], column_of: Mapping[str, str]
) -> tuple[Sample, ...]:
    """Return the samples with the values that the table stores for them."""
    by_name = {column.name: column for column in columns}
    return tuple(_as_stored(sample, by_name[column_of[sample.name]]) for sample in samples)


def _as_stored(sample: Sample, column: TableColumn) -> Sample:
    if column.type == "timestamp" and not column.is_array:  # has no time zone
        plain = ("datetime(2026, 11, 22, 20, 13)", "2026-11-22T20:13:00", (("datetime", "datetime"),))
        return Sample(sample.name, *plain)
    if column.length is not None and not column.labels and isinstance(sample.json, str):
        text = sample.json[: column.length].ljust(column.length if column.type == "bpchar" else 0, "a")
        return Sample(sample.name, json.dumps(text), text)
    if column.labels or is_known(column.type):
        return sample
    if column.required:
        raise ScaffoldingRefused(
            f"{sample.name}: the generated test has no sample value for type {column.type}; "
            "choose the other columns with --column, and add this field by hand afterwards"
        )
    return Sample(sample.name, "None", None)


def _row(
    columns: Sequence[TableColumn], column_of: Mapping[str, str], samples: Mapping[str, object]
) -> dict[str, object]:
    field_of = {column: field for field, column in column_of.items()}
    row: dict[str, object] = {}
    for column in columns:
        if column.name in field_of and column.type != "bytea":
            row[column.name] = samples[field_of[column.name]]
        elif column.name in field_of or (column.required and not column.filled):
            made = sample_of_column(column.type, is_array=column.is_array)
            row[column.name] = column.labels[0] if column.labels and not column.is_array else made
    return row


def _table_like(table: str, columns: Sequence[TableColumn], key: Sequence[str]) -> str:
    enumerated = ("text" if column.labels else column.type for column in columns)
    parts = [
        f'    "{c.name}" {kind}{"[]" if c.is_array else ""}'
        for c, kind in zip(columns, enumerated, strict=True)
    ]
    parts += [f"    primary key ({', '.join(key)})"] if key else []
    schema = f"create schema if not exists {table.rpartition('.')[0]};\n" if "." in table else ""
    return f"{schema}create table {table} (\n{_LINE.join(parts)}\n);\n"
