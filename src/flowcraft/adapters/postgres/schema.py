"""The schema: bring a database to the log of this version and to the triggers of the declared sources."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Literal

import asyncpg
import msgspec

from flowcraft.adapters.postgres.connections import pinned
from flowcraft.adapters.postgres.lock_waits import reported
from flowcraft.adapters.postgres.statements import Migration, migrations, refusal, statement
from flowcraft.adapters.postgres.triggers import table_sources
from flowcraft.channels import Channels
from flowcraft.errors import LogUnavailable

if TYPE_CHECKING:
    from flowcraft.adapters.postgres.connections import AnyConnection

OLDEST_POSTGRES = 14
LOCK = statement("migrate_lock").rstrip()
"""Two migrations of one database wait for each other."""
_LOCK_SECONDS = 0.1
_CHOSEN_BY_CALLER = ("search_path", "lock_timeout")
"""Where tables without a schema are looked for, and how long a table in use is waited for."""
_FUNCTIONS = (
    "spelled(name, name)",
    "named(text, name)",
    "table(jsonb)",
    "base(oid)",
    "scalar(text, text, text)",
    "read(oid, jsonb, text, boolean)",
    "role()",
    "readable(regclass, name[])",
    "key(regclass, name[])",
    "declared_key(jsonb, regclass)",
    "condition(jsonb, regclass)",
    "plan(jsonb, regclass)",
    "rows(jsonb, text, boolean)",
    "now(jsonb, text)",
    "pairs(jsonb, text, boolean)",
    "differs(jsonb, text, text, boolean, text, boolean)",
    "side(jsonb, jsonb, text, boolean)",
    "query(jsonb, jsonb, text, jsonb, jsonb, boolean)",
    "operations(jsonb, jsonb)",
    "settings(regclass, jsonb)",
    "guard(jsonb, regclass)",
    "everywhere(jsonb)",
    "types(jsonb, regclass, jsonb)",
    "comparable()",
    "compared(jsonb, regclass, jsonb, jsonb)",
    "key_names(jsonb)",
    "wake()",
    "body(jsonb, regclass)",
    "function(jsonb, regclass)",
    "triggers(jsonb, regclass, text)",
    "present(text)",
    "follow()",
    "wanted(jsonb, regclass)",
    "without_index(jsonb, regclass)",
    "state_name(text)",
    "state(jsonb, regclass)",
    "state_definition(jsonb, regclass, text)",
    "state_settings(jsonb, regclass)",
    "has_state(jsonb, regclass, text)",
    "check_rows(jsonb, regclass)",
    "install_state(jsonb, regclass, text)",
    "definition(jsonb, regclass, text)",
    "mark(jsonb, regclass, text)",
    "is(oid, jsonb, regclass)",
    "storage(oid)",
    "stored(text)",
    "declaration(jsonb)",
    "changed(jsonb, text)",
    "store(jsonb, text)",
    "rewritten(jsonb, regclass, text)",
    "redeclared(text, boolean)",
    "follow_rewrites()",
    "install(jsonb)",
    "known()",
    "leftovers(jsonb, text[], text)",
    "restored()",
    "apply(jsonb, text[], text)",
)
CLEAR = "drop function " + ", ".join(f"pg_temp.flowcraft_{name}" for name in _FUNCTIONS)


async def migrate(
    database: str | AnyConnection,
    channels: Channels,
    *,
    prune: bool | Literal["all"] = True,
    lock_timeout: float | None = None,
    waiting: Callable[[str], None] | None = None,
) -> list[str]:
    """Bring a database up to date, in one transaction; return what was done, nothing if nothing was to do.

    Give a dsn or a connection; a transaction that is open on it is used. Several may run at once. With
    `prune`, triggers of sources that this application no longer declares are dropped: it is known by its
    channels, and what another one declares is left alone; with "all" those of others are dropped, too. A
    table that is in use is waited for up to 5 seconds, or the connection's `lock_timeout`; another migration
    without end, or that `lock_timeout`. Give another one, in seconds, for both. `waiting` is called with a
    sentence about each session that a migration by a dsn has waited for longer than 2 seconds.

    Raises:
        DeclarationError: a source does not fit its table; nothing was changed.
        SchemaNotOwned: another role has something in the schema flowcraft, or may put it there.
        SchemaDiffers: another version of this library migrated the database; nothing was changed.
        LogUnavailable: a PostgreSQL older than 14.
        asyncpg.LockNotAvailableError: a session had a lock for longer than the time-out; nothing was changed.
    """
    sources = msgspec.json.encode(table_sources(channels)).decode()
    async with _connected(database) as connection:
        with _refusals():
            async with _transaction(connection):
                _check_version(connection)
                if lock_timeout is not None:
                    await connection.execute(
                        f"set local lock_timeout = '{max(1, round(1000 * lock_timeout))}ms'"
                    )
                async with await _reporting(database, connection, waiting):
                    return await _migrate(connection, sources, prefixes(channels), which(prune))


async def _reporting(
    database: str | AnyConnection, connection: AnyConnection, waiting: Callable[[str], None] | None
) -> AbstractAsyncContextManager[object]:
    if waiting is None or not isinstance(database, str):
        return nullcontext()
    return reported(database, await connection.fetchval(statement("backend")), waiting)


def prefixes(channels: Channels) -> list[str]:
    """Return the prefixes of the channels, by which an application is known in a database."""
    return sorted(declaration.prefix for declaration in channels)


def which(prune: bool | Literal["all"]) -> str:
    """Return which triggers without a source are dropped, as `flowcraft_leftovers` takes it."""
    return "all" if prune == "all" else "own" if prune else "none"


def migration_sql(channels: Channels, *, prune: bool | Literal["all"] = True) -> str:
    """Return a script that does what `migrate` does, for psql or for another person to read and run."""
    sources = msgspec.json.format(msgspec.json.encode(table_sources(channels)), indent=2).decode()
    names = literal("{" + ",".join(prefixes(channels)) + "}")
    arguments = f"{literal(sources)}::jsonb, {names}::text[], '{which(prune)}'"
    parts = [
        "-- The log of FlowCraft Realtime, and the triggers of the declared sources. It may be run again.",
        "begin isolation level read committed;",
        statement("pin"),
        f"{LOCK};",
        statement("guard"),
        statement("bootstrap"),
        with_hashes("complete"),
        with_hashes("verify"),
        *map(guarded, migrations().values()),
        with_hashes("record"),
        statement("remember"),
        statement("install"),
        f"select pg_temp.flowcraft_apply({arguments}) as done;",
        statement("tighten"),
        statement("guard"),
        f"{CLEAR};",
        statement("unpin"),
        "commit;",
    ]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


_TAKEN_OVER = (
    "schema flowcraft: took over the log of a development version; its functions are now called "
    "flowcraft.broadcast, flowcraft.broadcast_ephemeral and flowcraft.wake"
)
_IS_COMPLETED = "select pg_catalog.current_setting('flowcraft.completed', true) = 'yes'"
_COMPLETED = (
    "schema flowcraft: completed a copy that had come without its rows, or with rows of another log; "
    "it begins here, and clients load their state again"
)
_APPLY = "select pg_temp.flowcraft_apply($1::text::jsonb, $2::text[], $3)"
_RECORD = "insert into flowcraft.migration (version, name, hash) values ($1, $2, $3)"


async def _migrate(connection: AnyConnection, sources: str, own: list[str], prune: str) -> list[str]:
    await connection.execute(statement("pin"))
    await _lock(connection)
    # Behind the lock, and before anything is read or called that another role may have made.
    await connection.execute(statement("guard"))
    await connection.execute(statement("bootstrap"))
    done = await _completed(connection)
    await connection.execute(with_hashes("verify"))
    done += [await _upgrade(connection, missing) for missing in await _missing(connection)]
    if await connection.execute(with_hashes("record")) != "UPDATE 0":
        done.append(_TAKEN_OVER)
    await connection.execute(statement("remember"))
    await connection.execute(statement("install"))
    done += [row[0] for row in await connection.fetch(_APPLY, sources, own, prune)]
    for row in await connection.fetch(statement("loose")):
        await connection.execute(row["statement"])
        done.append(f"schema flowcraft: {row['statement']}")
    await connection.execute(statement("guard"))
    await connection.execute(CLEAR)
    await connection.execute(statement("unpin"))
    return done


async def _lock(connection: AnyConnection) -> None:
    """Take the lock of migrations.

    It is asked for again and again: a statement that waits has a snapshot, for which `create index
    concurrently` of any other session would wait.
    """
    began = asyncio.get_running_loop().time()
    while True:
        row = await connection.fetchrow(statement("try_migrate_lock"))
        assert row is not None
        if row["taken"]:
            return
        waited = asyncio.get_running_loop().time() - began
        if row["milliseconds"] and 1000 * waited > row["milliseconds"]:
            raise asyncpg.LockNotAvailableError("another session has the lock of migrations")
        # The portal of that query keeps its snapshot until the next one.
        await connection.execute("select where false")
        await asyncio.sleep(_LOCK_SECONDS)


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except asyncpg.PostgresError as error:
        if refused := refusal(error.sqlstate, _sentence(error)):
            raise refused from None
        raise


@asynccontextmanager
async def _connected(database: str | AnyConnection) -> AsyncIterator[AnyConnection]:
    if not isinstance(database, str):
        yield database
        return
    connection = await asyncpg.connect(database)
    try:
        yield connection
    finally:
        await connection.close()


def _transaction(connection: AnyConnection) -> AbstractAsyncContextManager[object]:
    if connection.is_in_transaction():
        return connection.transaction()
    # Read committed: a migration that waited for the lock must see what the one before it has committed.
    return pinned(connection, but=_CHOSEN_BY_CALLER)


def _check_version(connection: AnyConnection) -> None:
    version = connection.get_server_version()
    if version.major < OLDEST_POSTGRES:
        raise LogUnavailable(
            f"PostgreSQL {version.major}.{version.minor} is too old; {OLDEST_POSTGRES} or later is needed"
        )


async def _completed(connection: AnyConnection) -> list[str]:
    """Complete a log that was copied in part; return a sentence if it was one."""
    await connection.execute(with_hashes("complete"))
    return [_COMPLETED] if await connection.fetchval(_IS_COMPLETED) else []


async def _missing(connection: AnyConnection) -> list[Migration]:
    present = {row["version"] for row in await connection.fetch("select version from flowcraft.migration")}
    return [one for one in migrations().values() if one.version not in present]


async def _upgrade(connection: AnyConnection, one: Migration) -> str:
    await connection.execute(one.text)
    await connection.execute(_RECORD, one.version, one.name, one.hash)
    return f"schema flowcraft: {one.name}"


def guarded(one: Migration) -> str:
    """Return a statement that applies a migration and stores its hash, unless it was applied."""
    return (
        "do $flowcraft_one$\nbegin\n"
        f"if not exists (select from flowcraft.migration where version = {one.version}) then\n"
        f"execute $flowcraft_migration$\n{one.text}$flowcraft_migration$;\n"
        "insert into flowcraft.migration (version, name, hash) "
        f"values ({one.version}, {literal(one.name)}, {literal(one.hash)});\n"
        "end if;\nend $flowcraft_one$;"
    )


def with_hashes(name: str) -> str:
    """Return a statement about the migrations, with the version, name and hash of each in it."""
    own = [{"version": one.version, "name": one.name, "hash": one.hash} for one in migrations().values()]
    return statement(name).replace("$1", literal(msgspec.json.encode(own).decode()))


def literal(text: str) -> str:
    # The e'' form means the same under every value of standard_conforming_strings.
    return "e'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _sentence(error: asyncpg.PostgresError) -> str:
    message, hint = str(error.args[0]), getattr(error, "hint", None)
    return f"{message}; {hint[0].lower()}{hint[1:].rstrip('.')}" if isinstance(hint, str) else message
