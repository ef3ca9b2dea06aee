"""Steps: what a migration does, one statement at a time, by whatever executes SQL for another library.

Each statement is complete and has no parameters, so that any driver carries it, and a file of them can be
written without a database.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import msgspec

from flowcraft.adapters.postgres.inspection import function_name
from flowcraft.adapters.postgres.schema import CLEAR, LOCK, guarded, literal
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
    """A trigger function that is not as declared. `present` is what makes it as it is; None: it is not there.

    `source` is None where nothing that is declared has it.
    """

    function: str
    source: TableSource | None
    present: str | None


def log_version(execute: Execute) -> int:
    """Return the version of a database's log, 0 if it has none. It refuses a log of another role unread."""
    execute(_as_one(statement("pin"), statement("guard"), statement("unpin")))
    if not execute(_VERSION)[0][0]:
        return 0
    return cast(int, execute("select pg_catalog.max(version) from flowcraft.migration")[0][0] or 0)


def upgrade_log(execute: Execute, version: int) -> None:
    """Bring the log to a version. It is never taken back."""
    missing = [
        guarded(number, name, text) for number, (name, text) in migrations().items() if number <= version
    ]
    execute(_guarded(statement("bootstrap"), *missing))


def drop_log(execute: Execute) -> None:
    """Drop the log with every event in it, and every trigger that writes to it."""
    execute("drop schema if exists flowcraft cascade")


def create_triggers(execute: Execute, source: TableSource) -> None:
    """Make the triggers of a source, or make them anew; nothing if they are as they should be."""
    sources = literal(msgspec.json.encode([source]).decode())
    apply = f"select pg_temp.flowcraft_apply({sources}::jsonb, false);"
    execute(_guarded(statement("install"), apply, f"{CLEAR};"))


def drop_triggers(execute: Execute, function: str) -> None:
    """Drop a trigger function and the triggers that call it."""
    execute(f'drop function if exists flowcraft."{function}"() cascade')


def restore_triggers(execute: Execute, function: str, text: str) -> None:
    """Make a trigger function what it was, by what `Difference.present` told."""
    drop = f'drop function if exists flowcraft."{function}"() cascade;'
    execute(_guarded(drop, text))


def differences(
    execute: Execute, sources: Sequence[TableSource], *, anew: Collection[str] = ()
) -> list[Difference]:
    """Return how a database differs from what is declared; sources of the tables `anew` always count.

    It leaves functions behind: roll back afterwards. A schema that is not only ours is refused.
    """
    execute(_as_one(statement("pin"), statement("guard"), statement("install"), statement("compare")))
    wanted = {function_name(source): source for source in sources}
    found = [
        Difference(function, source, present)
        for function, source in wanted.items()
        for same, present in execute(_compare(function, source))
        if not same or source.table in anew
    ]
    names = "array[" + ", ".join(map(literal, wanted)) + "]::text[]"
    others = execute(_bare("compare_others").replace("$1", names))
    execute(_as_one(statement("unpin")))
    return [*found, *(Difference(function, None, present) for function, present in others)]


def _compare(function: str, source: TableSource) -> str:
    encoded = literal(msgspec.json.encode(source).decode())
    return _bare("compare_source").replace("$2", literal(function)).replace("$1", encoded)


def _bare(name: str) -> str:
    return "\n".join(line for line in statement(name).splitlines() if not line.startswith("--"))


def _guarded(*statements: str) -> str:
    """Return one statement that does all of these, or refuses a schema that is not only ours."""
    before = (statement("pin"), f"{LOCK};", statement("guard"))
    return _as_one(*before, *statements, statement("tighten"), statement("guard"), statement("unpin"))


def _as_one(*statements: str) -> str:
    # Not every driver takes several statements at a time, and without a transaction they belong together.
    execute = "execute $flowcraft_all$\n" + "\n".join(statements) + "\n$flowcraft_all$;"
    return f"do $flowcraft_do$\nbegin\n{execute}\nend $flowcraft_do$"
