"""Migrations: the trigger of a channel as a file in a project's migrations."""

from __future__ import annotations

import ast
import configparser
import hashlib
from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path
from typing import cast

from flowcraft.adapters.postgres.table_facts import TriggerText
from flowcraft.scaffolding.edits import PlaceUnknown, text_of
from flowcraft.scaffolding.naming import snake_case
from flowcraft.scaffolding.request import ChannelRequest

_SQL = """\
-- {channel}: rows of {table} become {event}, in the transaction that changes them.
-- The same trigger as `flowcraft migrate` creates; without the log, this file does nothing and that command
-- creates both.
{statements}"""


_TRIGGERS = """\
do $migration$
begin
    if to_regclass('flowcraft.event') is null then
        return;
    end if;
    if not exists (
        select from pg_catalog.pg_namespace as n
        join pg_catalog.pg_roles as o on o.oid = n.nspowner
        join pg_catalog.pg_roles as r on r.rolname = current_user
        where n.nspname = 'flowcraft'
            and (o.oid = r.oid or o.rolsuper or not r.rolsuper and pg_catalog.pg_has_role(o.oid, 'usage'))
    ) then
        raise exception 'another role owns the schema flowcraft; `flowcraft migrate` prints what to do';
    end if;
    create or replace function flowcraft.{function}() returns trigger language plpgsql security definer
        set {settings} as $flowcraft_body${body}$flowcraft_body$;
    revoke all on function flowcraft.{function}() from public;
    comment on function flowcraft.{function}() is '{mark}';
{triggers}end
$migration$;
"""


def trigger_statements(trigger: TriggerText) -> str:
    """Return the statements that create the triggers of a source in a database with a log."""
    return _TRIGGERS.format(
        function=trigger.function,
        settings=trigger.settings,
        body=trigger.body,
        mark=trigger.mark,
        triggers="".join(f"    {line}\n" for line in trigger.triggers.splitlines()),
    )


def sql_migration(request: ChannelRequest, statements: str) -> str:
    """Return the text of a plain migration."""
    assert request.table is not None
    return _SQL.format(
        channel=request.names.channel, table=request.table.table, event=request.event, statements=statements
    )


def sql_name(folder: Path, request: ChannelRequest) -> Path:
    """Return the next free name in a folder of numbered files: `0003_flow_update.sql`."""
    numbers = ["".join(takewhile(str.isdigit, path.name)) for path in sorted(folder.glob("*.sql"))]
    digits = [number for number in numbers if number]
    width = len(digits[-1]) if digits else 4
    following = max(map(int, digits), default=0) + 1
    return folder / f"{following:0{width}}_{slug(request)}.sql"


def slug(request: ChannelRequest) -> str:
    """Return the part of a migration's name after its number."""
    return snake_case(request.names.channel.replace(".", "_").replace("{", "").replace("}", ""))


def existing(folder: Path, request: ChannelRequest, suffix: str) -> Path | None:
    """Return the existing migration of this channel, or None."""
    found = sorted(folder.glob(f"*_{slug(request)}.{suffix}"))
    return found[-1] if found else None


def alembic_versions(ini: Path) -> Path:
    """Return the folder of the revisions that an `alembic.ini` names.

    Raises:
        PlaceUnknown: the folder that it names does not exist.
    """
    settings = configparser.ConfigParser({"here": str(ini.parent)})
    settings.read_string(text_of(ini) or "")
    script = ini.parent / settings.get("alembic", "script_location", fallback="alembic")
    folder = script / "versions"
    if not folder.is_dir():
        raise PlaceUnknown("--migrations", f"the revisions of {ini}, expected in {folder}")
    return folder


def revision_of(request: ChannelRequest) -> str:
    """Return the id of a channel's revision: always the same for one channel."""
    return hashlib.sha256(request.names.channel.encode()).hexdigest()[:12]


def head_of(folder: Path) -> str | None:
    """Return the head revision; None in an empty folder.

    Raises:
        PlaceUnknown: the folder has several heads.
    """
    followed: set[str] = set()
    revisions: list[str] = []
    for file in sorted(folder.glob("*.py")):
        values = dict(_constants(ast.parse(text_of(file) or "")))
        revisions += [v for v in [values.get("revision")] if isinstance(v, str)]
        down = values.get("down_revision")
        followed |= {down} if isinstance(down, str) else set(cast(Iterable[str], down or ()))
    heads = [revision for revision in revisions if revision not in followed]
    if len(heads) > 1:
        raise PlaceUnknown("--migrations", "the revision to follow (run `alembic merge heads` first)", heads)
    return heads[0] if heads else None


def _constants(tree: ast.Module) -> Iterable[tuple[str, object]]:
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if isinstance(target, ast.Name) and value is not None and target.id.endswith("revision"):
            yield target.id, ast.literal_eval(value)
