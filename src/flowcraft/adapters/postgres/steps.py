"""Steps: what a migration does, one statement at a time, for libraries that execute the SQL themselves.

Each statement is complete and has no parameters, so that any driver carries it, and a file of them can be
written without a database.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import msgspec

from flowcraft.adapters.postgres.inspection import function_name
from flowcraft.adapters.postgres.schema import CLEAR, LOCK, guarded, literal, with_hashes
from flowcraft.adapters.postgres.statements import migrations, statement
from flowcraft.adapters.postgres.triggers import TableSource

Rows: TypeAlias = Sequence[Sequence[Any]]
Execute: TypeAlias = Callable[[str], Rows]
"""Executes one statement as it is, and returns its rows; none where it only writes the statement down."""

LATEST = max(migrations())
"""The version of the log that this version of the library makes."""
_VERSION = "select pg_catalog.to_regclass('flowcraft.migration') is not null"


@dataclass(frozen=True, slots=True)
class Difference:
    """A trigger function that is not as declared. `present` is the SQL of the present one, if there is one.

    `source` is None where no declared source has it.
    """

    function: str
    source: TableSource | None
    present: str | None


def log_version(execute: Execute) -> int:
    """Return the version of a database's log, 0 if it has none. A log of another role is refused unread."""
    execute(_as_one(statement("pin"), statement("guard"), statement("unpin")))
    if not execute(_VERSION)[0][0]:
        return 0
    return cast(int, execute("select pg_catalog.max(version) from flowcraft.migration")[0][0] or 0)


def upgrade_log(execute: Execute, version: int) -> None:
    """Bring the log to a version, never to an earlier one."""
    missing = [guarded(one) for one in migrations().values() if one.version <= version]
    before, after = (with_hashes("complete"), with_hashes("verify")), (with_hashes("record"),)
    execute(_guarded(statement("bootstrap"), *before, *missing, *after, statement("remember")))


def drop_log(execute: Execute) -> None:
    """Drop the log with every event in it, and every trigger that writes to it."""
    execute("drop schema if exists flowcraft cascade")


def create_triggers(execute: Execute, source: TableSource) -> None:
    """Create or replace the triggers of a source; do nothing if they are as declared."""
    sources = literal(msgspec.json.encode([source]).decode())
    apply = f"select pg_temp.flowcraft_apply({sources}::jsonb, '{{}}'::text[], 'none');"
    execute(_guarded(with_hashes("verify"), statement("install"), apply, f"{CLEAR};"))


def drop_triggers(execute: Execute, function: str) -> None:
    """Drop a trigger function, or the one of the caller's schema, and the triggers that call it."""
    execute(statement("drop_triggers").replace("$1", literal(function)).rstrip())


def restore_triggers(execute: Execute, function: str, text: str) -> None:
    """Make a trigger function what it was, by the text of `Difference.present`."""
    drop = f'drop function if exists flowcraft."{function}"() cascade;'
    # The text may be from a revision of a time when the functions had their names of a development version.
    execute(_guarded(drop, text, statement("old_triggers")))


def differences(
    execute: Execute,
    sources: Sequence[TableSource],
    *,
    touched: Collection[str] = (),
    own: Collection[str] = (),
    prune: str = "none",
) -> list[Difference]:
    """Return how a database differs from what is declared; sources of the tables `touched` always count.

    `prune` is which triggers that no source has count, `own` the prefixes of all declared channels. It leaves
    functions in the session: roll back afterwards. A schema that other roles can change is refused.
    """
    execute(_as_one(statement("pin"), statement("guard"), statement("install"), statement("compare")))
    found = [
        Difference(function, source, present)
        for source in sources
        for same, present, function in execute(_compare(source))
        if not same or source.table in touched
    ]
    names = "array[" + ", ".join(map(literal, own)) + "]"
    compare = _bare("compare_others").replace("$3", f"'{prune}'").replace("$2", names)
    others = execute(compare.replace("$1", literal(msgspec.json.encode(sources).decode())))
    execute(_as_one(statement("unpin")))
    return [*found, *(Difference(function, None, present) for function, present in others)]


def _compare(source: TableSource) -> str:
    encoded = literal(msgspec.json.encode(source).decode())
    return _bare("compare_source").replace("$2", literal(function_name(source))).replace("$1", encoded)


def _bare(name: str) -> str:
    return "\n".join(line for line in statement(name).splitlines() if not line.startswith("--"))


def _guarded(*statements: str) -> str:
    """Return one statement that does all of these, or refuses a schema that other roles can change."""
    before = (statement("pin"), f"{LOCK};", statement("guard"))
    return _as_one(*before, *statements, statement("tighten"), statement("guard"), statement("unpin"))


def _as_one(*statements: str) -> str:
    # Not every driver takes several statements at a time, and without a transaction all or none must succeed.
    execute = "execute $flowcraft_all$\n" + "\n".join(statements) + "\n$flowcraft_all$;"
    # Before it is parsed: our literals have backslashes that mean themselves.
    return (
        "do $flowcraft_do$\n"
        "declare conforming pg_catalog.text := pg_catalog.current_setting('standard_conforming_strings');\n"
        "begin\nperform pg_catalog.set_config('standard_conforming_strings', 'on', true);\n"
        f"{execute}\n"
        "perform pg_catalog.set_config('standard_conforming_strings', conforming, true);\n"
        "end $flowcraft_do$"
    )
