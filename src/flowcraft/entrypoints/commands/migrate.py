"""`flowcraft migrate`: bring a database to the log and the triggers that the channels need."""

from __future__ import annotations

import asyncio

import asyncpg
import click

from flowcraft.adapters.postgres.schema import migrate, migration_sql
from flowcraft.channels import Channels
from flowcraft.entrypoints.commands.reporting import USAGE, example, fail, failures_told
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
@click.option("--sql", help="Write the SQL to the terminal; connect to nothing.", is_flag=True)
@click.option(
    "--prune/--no-prune", help="Drop triggers of sources that are no longer declared.", default=True
)
def command(target: str, dsn: str | None, sql: bool, prune: bool) -> None:
    """Bring a database up to date.

    It gets the log of this version, and a trigger for each declared table. All in one transaction; it may
    be run again, and by several at once.
    """
    if sql and dsn is not None:
        fail("--sql connects to nothing; leave out --dsn, or --sql", USAGE)
    with failures_told():
        realtime = realtime_of(target, dsn)
        if sql:
            click.echo(migration_sql(realtime.channels, prune=prune), nl=False)
        else:
            _tell(_run(realtime.dsn, realtime.channels, prune))


def _run(dsn: str, channels: Channels, prune: bool) -> list[str]:
    try:
        return asyncio.run(migrate(dsn, channels, prune=prune))
    except asyncpg.LockNotAvailableError:
        fail("a table is in use, and was for 5 seconds; nothing was changed: run this again when it is quiet")
    except asyncpg.InsufficientPrivilegeError as error:
        fail(f"this user may not do that: {error}; run it as the owner of the tables, or see --sql")
    except asyncpg.PostgresError as error:
        fail(f"the database refuses: {error}; nothing was changed")
    except (OSError, asyncpg.InterfaceError) as error:
        reason = str(error) or type(error).__name__
        fail(f"the database cannot be reached: {reason}; see --dsn, or FLOWCRAFT_DSN")


def _tell(done: list[str]) -> None:
    for line in done or ["the database is up to date"]:
        click.echo(line)
