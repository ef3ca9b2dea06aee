"""`flowcraft migrate`: create or update the log and the triggers that the channels need."""

from __future__ import annotations

import asyncio
from typing import Literal

import asyncpg
import click

from flowcraft.adapters.postgres.schema import migrate, migration_sql
from flowcraft.channels import Channels
from flowcraft.entrypoints.commands.exit_status import USAGE, example, exit_on_error, fail
from flowcraft.entrypoints.commands.target import dsn_option, realtime_of, target_argument


@click.command(
    "migrate",
    epilog=example(
        "flowcraft migrate app.realtime:channels --dsn postgresql://localhost/app",
        "flowcraft migrate app.realtime:channels --sql | psql app",
    ),
)
@target_argument
@dsn_option
@click.option("--sql", help="Print the SQL; connect to no database.", is_flag=True)
@click.option(
    "--prune/--no-prune", help="Drop triggers of sources that are no longer declared.", default=True
)
@click.option("--prune-all", help="Drop triggers of channels that are not declared here, too.", is_flag=True)
@click.option(
    "--lock-timeout",
    type=click.FloatRange(min=0.001),
    metavar="SECONDS",
    help="Give up if another session has a lock for so long. Default: 5 for tables, none for migrations.",
)
def command(  # options
    target: str | None,
    *,
    dsn: str | None,
    sql: bool,
    prune: bool,
    prune_all: bool,
    lock_timeout: float | None,
) -> None:
    """Create or update the log and the triggers in a database.

    The database gets the log of this version, and a trigger for each declared table, in one transaction. The
    command can be repeated, and run by several processes at once: one waits for the other, and for the
    transactions that use a table. After 2 seconds it prints what it waits for.
    """
    if sql and dsn is not None:
        fail("--sql connects to no database; leave out --dsn or --sql", USAGE)
    with exit_on_error():
        realtime = realtime_of(target, dsn)
        which: bool | Literal["all"] = "all" if prune_all else prune
        if sql:
            click.echo(migration_sql(realtime.channels, prune=which), nl=False)
        else:
            _print(_run(realtime.dsn, realtime.channels, which, lock_timeout))


def _run(dsn: str, channels: Channels, prune: bool | Literal["all"], lock_timeout: float | None) -> list[str]:
    try:
        return asyncio.run(
            migrate(dsn, channels, prune=prune, lock_timeout=lock_timeout, waiting=_print_waiting)
        )
    except asyncpg.LockNotAvailableError:
        seconds = 5 if lock_timeout is None else lock_timeout
        fail(
            f"another session had a lock for {seconds:g} seconds; nothing was changed: try again when fewer "
            "transactions use the tables, or with a longer --lock-timeout"
        )
    except asyncpg.InsufficientPrivilegeError as error:
        fail(
            f"the database user lacks a privilege: {error}; connect as the owner of the tables, or see --sql"
        )
    except asyncpg.PostgresError as error:
        fail(f"the database reported an error: {error}; nothing was changed")
    except (OSError, asyncpg.InterfaceError) as error:
        reason = str(error) or type(error).__name__
        fail(f"the database cannot be reached: {reason}; see --dsn and FLOWCRAFT_DSN")


def _print_waiting(sentence: str) -> None:
    click.echo(sentence, err=True)


def _print(done: list[str]) -> None:
    for line in done or ["the database is up to date"]:
        click.echo(line)
