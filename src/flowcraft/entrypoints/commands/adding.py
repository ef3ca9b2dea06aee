"""Adding: from what somebody wants to the edits that do it; the database and the application are asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from keyword import iskeyword
from typing import TYPE_CHECKING

import msgspec

from flowcraft.adapters.postgres.table_facts import (
    TableColumn,
    columns_of,
    inspected,
    scratch,
    trigger_text,
)
from flowcraft.entrypoints.commands import preview as previews
from flowcraft.entrypoints.commands.formatting import polished, polished_edit
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
class Wish:
    """What somebody asked for; `columns` are those to take, by field, or None for all."""

    names: Names
    event: str
    feature: str
    fields: tuple[Field, ...] = ()
    columns: Mapping[str, str] | None = None
    on: tuple[str, ...] = ("insert", "update")


@asynccontextmanager
async def database(project: Project, dsn: str | None) -> AsyncIterator[Plain]:
    """Lend a connection to a database with the project's tables: the one that is known, or a new one.

    Raises:
        ScaffoldingRefused: none is known, and none can be made.
    """
    known = dsn or os.environ.get("FLOWCRAFT_DSN") or os.environ.get("DATABASE_URL")
    if known is not None:
        async with inspected(known) as connection:
            yield connection
    elif project.migrations is not None:
        async with scratch(sorted(project.migrations.glob("*.sql"))) as made, inspected(made) as connection:
            yield connection
    else:
        raise ScaffoldingRefused("the columns are read from a database; name it with --dsn")


def edits_for_service(wish: Wish, project: Project, service: str) -> list[Edit]:
    """Plan an API-driven channel.

    Raises:
        ScaffoldingRefused: it cannot be added so.
    """
    fields = wish.fields
    parameter = wish.names.parameter
    kind = next((f.annotation for f in fields if f.name == parameter), "UUID")
    there = fields_of(parsed(text_of(project.events) or "", project.events), wish.event)
    if parameter is not None and there is None and parameter not in [f.name for f in fields]:
        fields = (Field(parameter, "UUID"), *fields)
    if there is not None and parameter is not None:
        kind = next((f.annotation for f in there if f.name == parameter), kind)
    request = ChannelRequest(wish.names, wish.event, fields, wish.feature, None, service, kind)
    draft, declared = plan_declaration(request, project, polished)
    answer = _ask(draft, request, project)
    plan_rest(
        draft, request, project, Preview(answer.typescript, answer.samples, answer.tag), declared=declared
    )
    return [polished_edit(edit) for edit in draft.edits.values()]


async def edits_for_table(wish: Wish, project: Project, connection: Plain, table: str) -> list[Edit]:
    """Plan a database-driven channel.

    Raises:
        ScaffoldingRefused: it cannot be added so.
        DatabaseUnreadable: there is no such table.
    """
    columns = await columns_of(connection, table)
    there = fields_of(parsed(text_of(project.events) or "", project.events), wish.event)
    taken = _taken(wish, columns, [field.name for field in there] if there is not None else None, table)
    request = _table_request(wish, columns, taken, table, new=there is None)
    draft, declared = plan_declaration(request, project, polished)
    answer = _ask(draft, request, project)
    assert answer.source is not None
    samples = _samples(answer.samples, columns, taken)
    trigger = await trigger_text(connection, answer.source)
    preview = Preview(
        answer.typescript,
        samples,
        answer.tag,
        trigger_statements(trigger, wish.on),
        _row(columns, taken, {sample.name: sample.json for sample in samples}),
        _table_like(table, columns),
    )
    plan_rest(draft, request, project, preview, declared=declared)
    return [polished_edit(edit) for edit in draft.edits.values()]


def field_of_column(names: Names, column: str) -> str:
    """Return what the event calls a column: its own name, but `flow_id` for the `id` of a flow."""
    if column == "id" and names.parameter is not None:
        return names.parameter
    if column in ("id", "type") or iskeyword(column):
        return f"{names.entity}_{column}"
    return column


def _taken(
    wish: Wish, columns: Sequence[TableColumn], fields: Sequence[str] | None, table: str
) -> dict[str, str]:
    """Return the column of each field."""
    present = [column.name for column in columns]
    by_default = {field_of_column(wish.names, name): name for name in present}
    chosen = dict(wish.columns or {})
    if fields is not None:
        by_default.setdefault(f"{table.rpartition('.')[2].removesuffix('s')}_id", "id")
        chosen = {f: chosen.get(f) or (f if f in present else by_default.get(f, f)) for f in fields}
    elif not chosen:
        chosen = by_default
    parameter = wish.names.parameter
    if parameter is not None and fields is None and parameter not in chosen:
        chosen = {parameter: by_default.get(parameter, parameter), **chosen}
    for field, column in chosen.items():
        if column not in present:
            raise ScaffoldingRefused(
                f"{wish.event}.{field}: there is no column {column}; there is {', '.join(present)}; "
                f"say --column {field}=COLUMN"
            )
    return chosen


def _table_request(
    wish: Wish, columns: Sequence[TableColumn], taken: Mapping[str, str], table: str, *, new: bool
) -> ChannelRequest:
    by_name = {column.name: column for column in columns}
    given = {field.name: field for field in wish.fields}
    if unknown := given.keys() - taken.keys():
        raise ScaffoldingRefused(
            f"--field {min(unknown)}: no column is taken for it; say --column {min(unknown)}=COLUMN"
        )
    fields = tuple(given.get(f) or Field(f, annotation_of(by_name[c])) for f, c in taken.items())
    parameter = wish.names.parameter
    kind = _PARAMETERS.get(by_name[taken[parameter]].type, "str") if parameter is not None else "UUID"
    renamed = {field: column for field, column in taken.items() if field != column}
    return ChannelRequest(
        wish.names,
        wish.event,
        fields if new else wish.fields,
        wish.feature,
        RequestedTable(table, renamed, wish.on),
        None,
        kind,
    )


def annotation_of(column: TableColumn) -> str:
    """Return the type of a column's values as Python writes it."""
    return type_of_column(column.type, column.labels, is_array=column.is_array, required=column.required)


def _ask(draft: Draft, request: ChannelRequest, project: Project) -> previews.Answer:
    """Import the application, in another process, as the draft would have it."""
    question = previews.Question(
        str(project.root),
        project.module(project.channels),
        project.channels_object,
        request.names.channel,
        request.event,
        {str(path): edit.after for path, edit in draft.edits.items()},
    )
    done = subprocess.run(  # noqa: S603  # this very interpreter
        [sys.executable, "-m", previews.__name__],
        input=msgspec.json.encode(question),
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise ScaffoldingRefused(
            f"{question.module} ends the process that imports it:\n{done.stderr.decode()}"
        )
    answer = msgspec.json.decode(done.stdout, type=previews.Answer)
    if answer.error is not None:
        raise ScaffoldingRefused(f"{answer.error}\nnothing was changed")
    return answer


def _samples(
    samples: Sequence[Sample], columns: Sequence[TableColumn], taken: Mapping[str, str]
) -> tuple[Sample, ...]:
    """The samples as the table would have them."""
    by_name = {column.name: column for column in columns}
    return tuple(_as_stored(sample, by_name[taken[sample.name]]) for sample in samples)


def _as_stored(sample: Sample, column: TableColumn) -> Sample:
    if column.type == "timestamp" and not column.is_array:  # it has no zone
        plain = ("datetime(2026, 11, 22, 20, 13)", "2026-11-22T20:13:00", (("datetime", "datetime"),))
        return Sample(sample.name, *plain)
    if column.length is not None and not column.labels and isinstance(sample.json, str):
        text = sample.json[: column.length].ljust(column.length if column.type == "bpchar" else 0, "a")
        return Sample(sample.name, json.dumps(text), text)
    if column.labels or is_known(column.type):
        return sample
    if column.required:
        raise ScaffoldingRefused(
            f"{sample.name}: no value of {column.type} can be made up for the test; "
            "take other columns with --column, and this one by hand afterwards"
        )
    return Sample(sample.name, "None", None)


def _row(
    columns: Sequence[TableColumn], taken: Mapping[str, str], samples: Mapping[str, object]
) -> dict[str, object]:
    field_of = {column: field for field, column in taken.items()}
    row: dict[str, object] = {}
    for column in columns:
        if column.name in field_of and column.type != "bytea":
            row[column.name] = samples[field_of[column.name]]
        elif column.name in field_of or (column.required and not column.filled):
            made = sample_of_column(column.type, is_array=column.is_array)
            row[column.name] = column.labels[0] if column.labels and not column.is_array else made
    return row


def _table_like(table: str, columns: Sequence[TableColumn]) -> str:
    enumerated = ("text" if column.labels else column.type for column in columns)
    parts = (
        f'    "{c.name}" {kind}{"[]" if c.is_array else ""}'
        for c, kind in zip(columns, enumerated, strict=True)
    )
    schema = f"create schema if not exists {table.rpartition('.')[0]};\n" if "." in table else ""
    return f"{schema}create table {table} (\n{_LINE.join(parts)}\n);\n"
