"""Rules of the database: PostgreSQL supports the log, and has the tables and triggers of the channels."""

from __future__ import annotations

from collections.abc import Iterator

from flowcraft.adapters.postgres.inspection import Column, DatabaseFacts, SourceFacts
from flowcraft.adapters.postgres.schema import OLDEST_POSTGRES
from flowcraft.adapters.postgres.triggers import SourceField
from flowcraft.checking.column_types import misfit, takes_null
from flowcraft.checking.facts import Facts, SourceLocation
from flowcraft.checking.findings import Fault
from flowcraft.declarations import Declaration
from flowcraft.events import JsonSchema

_TO_BROADCAST = ("broadcast", "broadcast_ephemeral", "cursor")
_TO_READ = (
    *("reached", "changes", "measured", "proofs", "renew", "wake", "rotate", "purges", "ephemeral_key"),
    "rows",
)
_TO_HAVE_MEMBERS = ("beat", "attend", "forget", "members")


def can_be_reached(facts: Facts) -> Iterator[Fault]:
    if facts.database is not None and facts.database.trouble is not None:
        yield Fault(None, f"{facts.database.trouble}; see --dsn")


def is_new_enough(facts: Facts) -> Iterator[Fault]:
    database = facts.database
    if database is not None and database.trouble is None and database.version[0] < OLDEST_POSTGRES:
        version = ".".join(map(str, database.version))
        yield Fault(
            None,
            f"PostgreSQL {version} is too old: the log needs 64-bit transaction ids; "
            f"upgrade to {OLDEST_POSTGRES} or later",
        )


def is_primary(facts: Facts) -> Iterator[Fault]:
    if facts.database is not None and facts.database.standby:
        yield Fault(
            None,
            "this server is a standby, whose snapshots lack the transactions running on the primary; "
            "use the primary's address in --dsn",
        )


def notify_arrives(facts: Facts) -> Iterator[Fault]:
    if facts.database is not None and facts.database.notifies is False:
        yield Fault(
            None,
            "a NOTIFY sent on this connection does not arrive (a pooler in transaction mode?), so the server "
            "would poll every 0.2 s; configure a direct connection",
        )


def is_up_to_date(facts: Facts) -> Iterator[Fault]:
    database = _readable(facts)
    if database is None:
        return
    if not database.installed:
        yield Fault(None, f"the database has no schema flowcraft; run {migrate_with(facts)}")
    elif database.missing:
        names = ", ".join(database.missing)
        yield Fault(None, f"the schema flowcraft lacks the migration {names}; run {migrate_with(facts)}")
    elif database.position is not None:
        yield Fault(None, f"the log cannot be read: {database.position}")


def is_not_ahead(facts: Facts) -> Iterator[Fault]:
    database = _readable(facts)
    if database is not None and database.newer:
        yield Fault(
            None,
            f"the schema flowcraft has the migration {', '.join(database.newer)}, which this version does "
            "not know; use the version of flowcraft-realtime that migrated the database",
        )


def has_the_migrations_of_this_version(facts: Facts) -> Iterator[Fault]:
    database = _readable(facts)
    if database is not None and database.differing:
        yield Fault(
            None,
            "another version of flowcraft-realtime migrated this database: "
            f"{', '.join(database.differing)} in this version; use the version that migrated it, or, if the "
            "events may go, run `drop schema flowcraft cascade` and migrate again",
        )


def table_exists(facts: Facts) -> Iterator[Fault]:
    for found in sources(facts):
        channel, table = found.source.channel, plain(found)
        if not found.exists:
            yield Fault(
                place_of(facts, found),
                f"{channel}: the database has no table {table}; create it first, or correct its name "
                "in Table(...)",
            )
        elif not found.is_table:
            yield Fault(
                place_of(facts, found),
                (f"{channel}: {table} is not a table; name the table whose rows change in Table(...)"),
            )
        elif found.refused is not None:
            yield Fault(place_of(facts, found), f"{channel}: {found.refused}")


def column_exists(facts: Facts) -> Iterator[Fault]:
    for found, field, column in fields(facts):
        if column is None and field.required:
            has = ", ".join(one.name for one in found.columns)
            yield Fault(
                place_of(facts, found),
                f"{found.source.channel}: table {plain(found)} has no column {field.column} for the "
                f"field {field.name} of {found.source.event}; it has {has}: write "
                f'Table(..., {field.name}="<column>")',
            )


def column_fits(facts: Facts) -> Iterator[Fault]:
    for found, field, column in fields(facts):
        known = _schema(facts, found, field)
        if column is None or known is None:
            continue
        wanted = misfit(column, field, *known)
        if wanted is not None:
            yield Fault(
                place_of(facts, found),
                f"{found.source.channel}: column {plain(found)}.{column.name} is {column.type}, "
                "which does not fit the "
                f"{wanted} that {found.source.event}.{field.name} takes; change the field's type, or "
                "the column's",
            )


def null_is_allowed(facts: Facts) -> Iterator[Fault]:
    for found, field, column in fields(facts):
        known = _schema(facts, found, field)
        if column is not None and known is not None and column.nullable and not takes_null(*known):
            yield Fault(
                place_of(facts, found),
                f"{found.source.channel}: column {plain(found)}.{column.name} may be null, but "
                f"{found.source.event}.{field.name} may not; add `| None` to the field, or set the column "
                "not null",
            )


def is_installed(facts: Facts) -> Iterator[Fault]:
    for found in sources(facts):
        if found.installed is False or (found.installed and not found.operations):
            yield Fault(
                place_of(facts, found),
                f"{found.source.channel}: the trigger on {plain(found)} is not installed, so "
                f"{lost(found)}; run {migrate_with(facts)}",
            )


def is_what_is_declared(facts: Facts) -> Iterator[Fault]:
    for found in sources(facts):
        if not found.installed or not found.operations:
            continue
        wanted, present = sorted(found.wanted), sorted(found.operations)
        if wanted != present:
            what = f"fires on {', '.join(present)}, but is declared for {', '.join(wanted)}"
        elif not found.same:
            what = f"differs from the declaration Table({plain(found)}): a field or a column has changed"
        else:
            continue
        yield Fault(
            place_of(facts, found),
            (f"{found.source.channel}: the trigger on {plain(found)} {what}; run {migrate_with(facts)}"),
        )


def is_enabled(facts: Facts) -> Iterator[Fault]:
    for found in sources(facts):
        for trigger in found.disabled:
            table = plain(found)
            yield Fault(
                place_of(facts, found),
                f"{found.source.channel}: the trigger {trigger} on {table} is disabled, so "
                f"{lost(found)}; run `alter table {table} enable trigger {trigger}`",
            )


def nothing_is_left_over(facts: Facts) -> Iterator[Fault]:
    database = _readable(facts)
    for leftover in database.leftovers if database else ():
        where = f"the triggers on {leftover.tables}" if leftover.tables else "a function"
        prefixes = {declaration.prefix for declaration in facts.channels or ()}
        run = (
            migrate_with(facts)
            if leftover.function[:-9] in prefixes
            else f"{migrate_with(facts)[:-1]} --prune-all`"
        )
        yield Fault(
            None,
            f"flowcraft.{leftover.function}: {where} of a source that is not declared; run "
            f"{run} to drop it, unless another service on this database declares it",
        )


def search_path_is_pinned(facts: Facts) -> Iterator[Fault]:
    database = _readable(facts)
    for function in database.unpinned if database else ():
        yield Fault(
            None,
            f"{function} sets no search_path, so its caller decides which tables it finds; run "
            f"`alter function {function} set search_path = pg_catalog, pg_temp`",
        )


def nothing_is_of_others(facts: Facts) -> Iterator[Fault]:
    database = _readable(facts)
    for sentence in database.strangers if database else ():
        yield Fault(None, sentence)


def may_broadcast(facts: Facts) -> Iterator[Fault]:
    yield from _may(facts, _TO_BROADCAST, "broadcast")


def may_read(facts: Facts) -> Iterator[Fault]:
    yield from _may(facts, _TO_READ, "read the log")
    if any(declaration.members is not None for declaration in facts.channels or ()):
        yield from _may(facts, _TO_HAVE_MEMBERS, "write who is present")


def everything_was_compared(facts: Facts) -> Iterator[Fault]:
    database = _readable(facts)
    for sentence in database.not_compared if database else ():
        yield Fault(None, f"{sentence}; check as the role that migrates")


def _may(facts: Facts, functions: tuple[str, ...], what: str) -> Iterator[Fault]:
    database = _readable(facts)
    if database is None or not database.installed:
        return
    denied = [name for name in functions if name not in database.executable]
    if denied or not database.usable:
        names = ", ".join(f"flowcraft.{name}" for name in denied or functions)
        yield Fault(
            None,
            f"role {database.role} may not {what}; if it should: `grant usage on schema flowcraft to "
            f"{database.role}; grant execute on function {names} to {database.role}`",
        )


def _readable(facts: Facts) -> DatabaseFacts | None:
    database = facts.database
    if database is None or database.trouble is not None or database.standby:
        return None
    return database if database.version[0] >= OLDEST_POSTGRES else None


def sources(facts: Facts) -> tuple[SourceFacts, ...]:
    database = _readable(facts)
    return database.sources if database else ()


def fields(facts: Facts) -> Iterator[tuple[SourceFacts, SourceField, Column | None]]:
    for found in sources(facts):
        columns = {column.name: column for column in found.columns}
        for field in found.source.fields if found.is_table and not found.source.is_of_guard else ():
            yield found, field, columns.get(field.column)


def lost(found: SourceFacts) -> str:
    """Return what a missing trigger costs."""
    if found.source.is_of_guard:
        return "rights that a change of its rows ends go on"
    return "its rows become no events"


def _schema(facts: Facts, found: SourceFacts, field: SourceField) -> tuple[JsonSchema, JsonSchema] | None:
    """Return the JSON Schema of a field, and the definitions that it may refer to."""
    declaration = _declaration(facts, found)
    if declaration is None:
        return None
    payload = declaration.payload.schema()
    names = [member.__name__ for member in declaration.payload.members]
    references = payload.get("anyOf", [payload])
    key = str(references[names.index(found.source.event)]["$ref"]).rpartition("/")[2]
    definitions: JsonSchema = payload["$defs"]
    schema = definitions[key].get("properties", {}).get(field.name)
    return None if schema is None else (schema, definitions)


def _declaration(facts: Facts, found: SourceFacts) -> Declaration | None:
    return next((one for one in facts.channels or () if one.name == found.source.channel), None)


def place_of(facts: Facts, found: SourceFacts) -> SourceLocation | None:
    return facts.python.declared.get(found.source.channel)


def plain(found: SourceFacts) -> str:
    return found.name or found.source.table.replace('"', "")


def migrate_with(facts: Facts) -> str:
    return f"`flowcraft migrate {facts.target}`"
